"""What is exported for VictoriaMetrics, judged by its own programs of Debian's newest suite."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from alerts import victoriametrics
from alerts.rule_files import every_alert
from export.__main__ import main
from rules.engine import Engine
from tests import servers

pytestmark = pytest.mark.slow

ALERTS = Path(__file__).parents[1] / "alerts"
CASE = ALERTS / "engines" / "victoriametrics.yml"
SAME = ("dependencies", "errors", "processes", "watched")
"""Cases that MetricsQL answers to the last digit, and that take a second. Those of history,
investigation, routes and watched_days hold too; the rest have figures that Prometheus extrapolates
over the ends of a window, and VictoriaMetrics does not."""
_SECRETS = {"VMAUTH_PASSWORD": "made-up", "VMAUTH_WRITE_PASSWORD": "made-up"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert main(["--for", "victoriametrics", "--to", str(folder)]) == 0
    return folder


def run(*command: str | Path, folder: Path) -> str:
    """Run a program of VictoriaMetrics; its output becomes the failure's message."""
    programs = servers.victoria_metrics_programs()
    done = subprocess.run(
        [programs / command[0], *command[1:]],
        cwd=folder,
        env={**os.environ, **_SECRETS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def commands(folder: Path) -> list[list[str]]:
    """The commands of the README that is exported."""
    text = (folder / "README.md").read_text()
    [block] = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in block.replace("\\\n", "").splitlines()]


def test_the_commands_of_the_guide_read_the_files_that_are_exported(exported: Path) -> None:
    shown = commands(exported)
    assert [command[0] for command in shown] == ["victoria-metrics", "vmagent", "vmauth", "vmalert"]
    for command in shown:
        run(*command, "-dryRun", folder=exported)
    run("vmauth", "-auth.config=vmauth-cluster.yml", "-dryRun", folder=exported)


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("vmagent.yml", ["vmagent", "-remoteWrite.url=http://a", "-promscrape.config"]),
        ("vmauth.yml", ["vmauth", "-auth.config"]),
        ("rules/vitals-slo.yml", ["vmalert", "-rule"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_dry_run_finds_what_is_wrong(
    file: str, command: list[str], exported: Path, tmp_path: Path
) -> None:
    """Otherwise the test above could not fail."""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((exported / file).read_text() + "\nunknown_key: 1\n")
    with pytest.raises(AssertionError, match="unknown_key"):
        run(*command[:-1], f"{command[-1]}={wrong}", "-dryRun", folder=tmp_path)


def test_a_pair_of_prometheus_writes_series_without_its_replica(exported: Path) -> None:
    text = (exported / "prometheus.yml").read_text().replace("NAME_OF_REPLICA", "a")
    file = exported / "checked.yml"
    file.write_text(text)
    subprocess.run(["promtool", "check", "config", file], check=True, capture_output=True)
    for write in yaml.safe_load(text)["remote_write"]:
        assert write["write_relabel_configs"] == [{"action": "labeldrop", "regex": "replica"}]


def test_its_own_alerts_are_exported_for_it_alone(exported: Path, tmp_path: Path) -> None:
    assert main(["--for", "prometheus", "--to", str(tmp_path)]) == 0
    assert not (tmp_path / "rules" / "vitals-victoriametrics.yml").exists()
    for folder, engine in ((tmp_path, Engine.PROMETHEUS), (exported, Engine.VICTORIAMETRICS)):
        text = "".join(path.read_text() for path in folder.glob("rules/*.yml"))
        for alert in every_alert(engine):
            assert f"- alert: {alert.name}\n" in text
        assert ("prometheus_rule_evaluation_failures_total" in text) == (
            engine is Engine.PROMETHEUS
        )
        # MetricsQL's `changes` counts the first sample of an instance: a start would be a restart.
        assert bool(re.search(r"\bchanges\(", text)) == (engine is Engine.PROMETHEUS)
        routed = (folder / "alertmanager.yml").read_text()
        assert ("MetricsReadOnly" in routed) == (engine is Engine.VICTORIAMETRICS)
    names = {alert.name for alert in every_alert(Engine.VICTORIAMETRICS)}
    assert {alert.name for alert in victoriametrics.REPLACED} <= names


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["promtool", "vmalert-tool"])
def test_its_own_alerts_behave_as_replayed(judge: str, exported: Path) -> None:
    case = exported / "case.yml"
    if judge == "promtool":
        shutil.copy(CASE, case)
        command = ["promtool", "test", "rules", str(case)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        _judge(CASE.read_text(), exported)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_cases_of_prometheus_hold_in_metricsql(name: str, exported: Path) -> None:
    text = (ALERTS / f"{name}.yml").read_text()
    _judge(text.replace("../../prometheus/rules/", "rules/vitals-"), exported)


def _judge(case: str, folder: Path) -> None:
    """Run a case of promtool by vmalert-tool, which names one of its fields otherwise."""
    file = folder / "unit.yml"
    file.write_text(case.replace("promql_expr_test:", "metricsql_expr_test:"))
    output = run(
        "vmalert-tool", "unittest", "-disableAlertgroupLabel", "--files=unit.yml", folder=folder
    )
    assert "SUCCESS" in output
