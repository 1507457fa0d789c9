"""Exports are what their systems read, and touch nothing that is there."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from alerts.rule_files import every_alert, every_signal
from dashboards.boards.registry import BOARDS
from dashboards.rendered_queries import fill_in, panels
from export.__main__ import FORMATS, main
from export.files import MADE_BY
from rules.engine import Engine
from rules.promql import series_in
from rules.watched import SCRAPE_SETTINGS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RESOURCE = jsonschema.Draft7Validator(
    json.loads((ROOT / "grafana/schema/resource.schema.json").read_text())
)
BOARD = jsonschema.Draft7Validator(
    json.loads((ROOT / "grafana/schema/board.schema.json").read_text())
)
IDENTITY = ("--identity", "cluster,namespace,job")


def export(name: str, to: Path, *options: str) -> None:
    """Export; the command's message becomes the failure's."""
    assert main(["--for", name, "--to", str(to), *options]) == 0


def run(*command: str | Path) -> str:
    """Run a tool; its output becomes the failure's message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_in(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """The rules of exported files."""
    return [
        rule
        for path in folder.glob(pattern)
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_a_readme_says_how_to_load_it_and_what_wrote_it(name: str, tmp_path: Path) -> None:
    export(name, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "```sh" in text
    assert f"Written by {MADE_BY}." in text
    for word in ("DATASOURCE", "FOLDER", " NAMESPACE "):
        assert word not in text


@pytest.mark.usefixtures("every_suite")
def test_rules_are_valid_with_our_files_in_a_configuration_that_is_there(tmp_path: Path) -> None:
    export("prometheus", tmp_path, *IDENTITY)
    scrape = yaml.safe_load((tmp_path / "scrape.yml").read_text())
    [job] = scrape["scrape_configs"]
    del job["authorization"]
    config = {
        "rule_files": ["rules/vitals-*.yml"],
        "scrape_configs": [{"job_name": "node"}, job],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    run("promtool", "check", "config", tmp_path / "prometheus.yml")
    rules = rules_in(tmp_path, "rules/*.yml")
    assert {rule["record"] for rule in rules if "record" in rule} == {*every_signal()}
    assert Counter(rule["alert"] for rule in rules if "alert" in rule) == Counter(
        alert.name for alert in every_alert()
    )


def test_alerts_are_left_out_changed_and_labelled(tmp_path: Path) -> None:
    export(
        *("prometheus", tmp_path, "--without", "Watchdog", "--set", "RouteSlow.for=11m"),
        *("--set", "TargetDown.severity=ticket", "--label", "team=shop"),
        *("--boards", "https://grafana.example/", "--runbooks", "https://docs.example/runbooks"),
    )
    alerts = [rule for rule in rules_in(tmp_path, "rules/*.yml") if "alert" in rule]
    assert {rule["alert"] for rule in alerts} == {each.name for each in every_alert()} - {
        "Watchdog"
    }
    assert {rule["labels"]["team"] for rule in alerts} == {"shop"}
    for rule in alerts:
        assert (rule.get("for") == "11m") == (rule["alert"] == "RouteSlow")
        notes = rule["annotations"]
        assert notes["runbook_url"] == f"https://docs.example/runbooks/{rule['alert']}.md"
        assert notes["dashboard_url"].startswith("https://grafana.example/d/svc-")
    [down] = [rule for rule in alerts if rule["alert"] == "TargetDown"]
    assert down["labels"]["severity"] == "ticket"
    assert "Watchdog" not in (tmp_path / "alertmanager.yml").read_text()


THEIRS = {
    "global": {"resolve_timeout": "4m"},
    "route": {
        "receiver": "everybody",
        "group_by": ["alertname"],
        "routes": [{"matchers": ['team="db"'], "receiver": "dba"}],
    },
    "inhibit_rules": [
        {"source_matchers": ['a="b"'], "target_matchers": ['c="d"'], "equal": ["node"]}
    ],
    "receivers": [{"name": "everybody"}, {"name": "dba"}, {"name": "pager"}],
}


@pytest.mark.usefixtures("every_suite")
def test_routes_are_merged_into_a_configuration_and_change_nothing_of_it(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.yml"
    theirs.write_text(yaml.safe_dump(THEIRS))
    merged = tmp_path / "out" / "alertmanager.yml"
    receivers = ("--page", "pager", "--ticket", "everybody")
    export("prometheus", tmp_path / "out", *receivers, "--alertmanager", str(theirs))
    run("amtool", "check-config", merged)

    def receiver(*labels: str) -> str:
        return run("amtool", "config", "routes", "test", f"--config.file={merged}", *labels).strip()

    assert receiver("alertname=NodeDown", "team=db", "severity=page") == "dba"
    assert receiver("alertname=NodeDown", "severity=page") == "everybody"
    assert receiver("alertname=TargetDown", "job=shop", "severity=page") == "pager"
    assert receiver("alertname=RouteSlow", "job=shop", "severity=ticket") == "everybody"
    assert receiver("alertname=Watchdog", "severity=none") == "vitals-heartbeat"
    config = yaml.safe_load(merged.read_text())
    assert config["global"] == THEIRS["global"]
    assert config["inhibit_rules"][0] == THEIRS["inhibit_rules"][0]  # type: ignore[index]

    # Again, from what is there now: the same.
    again = tmp_path / "again"
    export("prometheus", again, *receivers, "--alertmanager", str(merged))
    assert yaml.safe_load((again / "alertmanager.yml").read_text()) == config


@pytest.mark.parametrize("name", ["mimir", "thanos", "victoriametrics", "prometheus"])
def test_each_system_gets_all_rules(name: str, tmp_path: Path) -> None:
    export(name, tmp_path, *IDENTITY)
    rules = rules_in(tmp_path, "rules/*")
    engine = Engine.VICTORIAMETRICS if name == "victoriametrics" else Engine.PROMETHEUS
    assert len(rules) == len(every_signal()) + len(every_alert(engine))
    for path in tmp_path.glob("rules/*"):
        content = yaml.safe_load(path.read_text())
        assert ("namespace" in content) == (name == "mimir")
        for group in content["groups"]:
            assert ("partial_response_strategy" in group) == (name == "thanos")


def test_boards_are_valid_as_files_bodies_and_resources(tmp_path: Path) -> None:
    export("grafana", tmp_path, *IDENTITY, "--folder", "Shop & more", "--datasource", "mimir")
    for board in BOARDS:
        drawn = json.loads((tmp_path / "dashboards" / f"{board.uid}.json").read_text())
        BOARD.validate(drawn)
        [source] = [each for each in drawn["templating"]["list"] if each["name"] == "datasource"]
        assert source["current"]["value"] == "mimir"
        body = json.loads((tmp_path / "api" / f"{board.uid}.json").read_text())
        assert body["dashboard"] == drawn
        assert body["folderUid"] == "shop-more"
        resource = json.loads((tmp_path / "resources" / f"{board.uid}.json").read_text())
        RESOURCE.validate(resource)
        _has_every_panel_once(drawn, resource["spec"])
    provider = yaml.safe_load((tmp_path / "provisioning/dashboards/shop-more.yaml").read_text())
    assert provider["providers"][0]["folder"] == "Shop & more"


def _has_every_panel_once(board: dict[str, Any], spec: dict[str, Any]) -> None:
    panels = [
        panel
        for each in board["panels"]
        for panel in (each["panels"] if each["type"] == "row" else [each])
    ]
    placed = [
        item["spec"]["element"]["name"]
        for row in spec["layout"]["spec"]["rows"]
        for item in row["spec"]["layout"]["spec"]["items"]
    ]
    assert sorted(placed) == sorted(spec["elements"])
    for panel in panels:
        element = spec["elements"][f"panel-{panel['id']}"]["spec"]
        assert element["title"] == panel["title"]
        assert element["vizConfig"]["group"] == panel["type"]
        queries = [each["spec"]["query"]["spec"] for each in element["data"]["spec"]["queries"]]
        assert [each["expr"] for each in queries] == [
            each["expr"] for each in panel.get("targets", ())
        ]


def test_an_invalid_resource_is_found(tmp_path: Path) -> None:
    export("grafana", tmp_path)
    resource = json.loads((tmp_path / "resources" / "svc-db.json").read_text())
    resource["spec"]["variables"][0]["spec"]["hide"] = 0
    assert not RESOURCE.is_valid(resource)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--without", "Nothing"], "no alert Nothing; there are AlertsDropped"),
        (["--set", "RouteSlow.for"], "write ALERT.FIELD=VALUE"),
        (["--set", "RouteSlow.expr=up"], "choose from for, keep_firing_for, severity"),
        (["--set", "RouteSlow.for=soon"], "a duration is a number"),
        (["--set", "RouteSlow.severity=critical"], "page or ticket"),
        (["--label", "severity=x"], "has a meaning already"),
        (["--label", "team"], "write NAME=VALUE"),
        (["--identity", "cluster"], "must include job"),
        (["--alertmanager", "/nowhere.yml"], "/nowhere.yml"),
        (["--prometheus", "/nowhere.yml"], "/nowhere.yml"),
        (["--target", "127.0.0.1:8000"], "belong together: --target HOST:PORT --job NAME"),
        (["--token-file", "token"], "belong together: --target HOST:PORT --job NAME"),
        (["--target", "http://shop:80", "--job", "shop"], "--target http://shop:80: write HOST"),
    ],
)
def test_an_option_that_cannot_be_met_is_named(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--for", "prometheus", "--to", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [("a: [", "no YAML"), ("receivers: []", "no route"), (yaml.safe_dump(THEIRS), "no receiver")],
)
def test_a_configuration_that_cannot_be_merged_is_refused(
    config: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "theirs.yml"
    file.write_text(config)
    options = ["--for", "prometheus", "--to", str(tmp_path / "out"), "--alertmanager", str(file)]
    assert main(options) == 2
    assert message in capsys.readouterr().err


SCRAPED = {
    "rule_files": ["theirs/*.yml"],
    "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": ["a:9100"]}]}],
}


def test_rules_and_a_service_are_merged_into_a_configuration_once(tmp_path: Path) -> None:
    theirs, token = tmp_path / "theirs.yml", tmp_path / "token"
    theirs.write_text(yaml.safe_dump(SCRAPED))
    service = ("--target", "10.0.0.5:8000", "--target", "[::1]:8000", "--job", "shop")
    to = tmp_path / "out"
    export("prometheus", to, *service, "--token-file", str(token), "--prometheus", str(theirs))
    merged = yaml.safe_load((to / "prometheus.yml").read_text())
    assert merged["rule_files"] == ["theirs/*.yml", f"{to}/rules/vitals-*.yml"]
    node, shop = merged["scrape_configs"]
    assert [node] == SCRAPED["scrape_configs"]
    assert shop["authorization"] == {"credentials_file": str(token)}
    assert shop["static_configs"] == [
        {"targets": ["10.0.0.5:8000", "[::1]:8000"], "labels": {"job": "shop"}}
    ]
    # Again, from what is there now, with another address: nothing is there twice.
    now = tmp_path / "now.yml"
    now.write_text((to / "prometheus.yml").read_text())
    export("prometheus", to, "--target", "b:80", "--job", "shop", "--prometheus", str(now))
    again = yaml.safe_load((to / "prometheus.yml").read_text())
    assert again["rule_files"] == merged["rule_files"]
    assert [job["job_name"] for job in again["scrape_configs"]] == ["node", "vitals-shop"]
    assert again["scrape_configs"][1]["static_configs"][0]["targets"] == ["b:80"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("a: [", "no YAML"),
        ("", "no mapping"),
        (yaml.safe_dump(SCRAPED), "job node is in the configuration already"),
    ],
)
def test_a_prometheus_that_cannot_be_merged_is_refused(
    config: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "theirs.yml"
    file.write_text(config)
    options = ["--to", str(tmp_path / "out"), "--prometheus", str(file)]
    assert main(["--for", "prometheus", *options, "--target", "a:80", "--job", "node"]) == 2
    assert message in capsys.readouterr().err
    assert main(["--for", "grafana", *options]) == 2
    assert "of --for prometheus alone" in capsys.readouterr().err


def test_a_folder_that_no_export_wrote_is_not_replaced_by_the_viewer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "site" / "mine.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert main(["--for", "prometheus", "--to", str(tmp_path), "--viewer"]) == 2
    assert "export: " in capsys.readouterr().err
    assert [*tmp_path.rglob("*.*")] == [mine]


def test_a_second_export_replaces_the_first_and_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export("kubernetes", tmp_path)
    (tmp_path / "mine.yaml").write_text("mine")
    export("prometheus", tmp_path)
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert not (tmp_path / "servicemonitor.yaml").exists()
    assert (tmp_path / "scrape.yml").exists()

    other = tmp_path / "other"
    other.mkdir()
    (other / "alertmanager.yml").write_text("theirs")
    assert main(["--for", "prometheus", "--to", str(other)]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert (other / "alertmanager.yml").read_text() == "theirs"
    assert [*other.iterdir()] == [other / "alertmanager.yml"]


def test_scrapes_drop_what_no_rule_and_no_board_reads(tmp_path: Path) -> None:
    export("prometheus", tmp_path, "--drop-unread")
    (job,) = yaml.safe_load((tmp_path / "scrape.yml").read_text())["scrape_configs"]
    *kept, dropping = job["metric_relabel_configs"]
    assert kept == SCRAPE_SETTINGS["metric_relabel_configs"]
    assert dropping["action"] == "drop"
    dropped = {*dropping["regex"].split("|")}
    assert "cache_operation_duration_seconds_sum" in dropped
    queries = [
        *(rule["expr"] for rule in rules_in(tmp_path, "rules/*.yml")),
        *(
            fill_in(target["expr"])
            for board in BOARDS
            for panel in panels(board.draw())
            for target in panel.get("targets", ())
        ),
    ]
    read = frozenset().union(*(series_in(query) for query in queries))
    assert "cache_operation_duration_seconds_bucket" in read
    assert not dropped & read
