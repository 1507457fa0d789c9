"""Prometheus's configuration on this machine."""

import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest
import yaml

from alerts.time_scale import seconds
from stack.installation.paths import CHECKOUT
from stack.installation.ports import Ports
from stack.servers import prometheus
from stack.settings import PROMETHEUS_KEEP
from tests import servers
from tests.conftest import Start

PORTS = Ports(
    api=1111,
    prometheus=2222,
    alertmanager=3333,
    runner=4444,
    store=5555,
    issues=6666,
    postgres_reader=7777,
    redis_reader=8888,
)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    source = CHECKOUT / "prometheus"
    text = prometheus.configuration(
        source / "prometheus.yml", PORTS, tmp_path, rules=source / "rules"
    )
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_every_target_is_on_this_machine(config: dict[str, Any]) -> None:
    targets = {
        job["job_name"]: group["targets"]
        for job in config["scrape_configs"]
        for group in job.get("static_configs", [])
    }
    assert targets == {
        "api": ["127.0.0.1:1111"],
        "prometheus": ["127.0.0.1:2222"],
        "alertmanager": ["127.0.0.1:3333"],
        "store": ["127.0.0.1:5555"],
        "issues": ["127.0.0.1:6666"],
        "postgres": ["127.0.0.1:7777"],
        "redis": ["127.0.0.1:8888"],
        "runner": ["127.0.0.1:4444"],
    }
    (peers,) = config["alerting"]["alertmanagers"]
    assert peers["static_configs"] == [{"targets": ["127.0.0.1:3333"]}]


def test_the_token_is_read_from_this_installation(config: dict[str, Any], tmp_path: Path) -> None:
    (api,) = (job for job in config["scrape_configs"] if job["job_name"] == "api")
    assert api["authorization"]["credentials_file"] == str(tmp_path / "metrics-token")


@pytest.mark.usefixtures("every_suite")
@pytest.mark.servers
def test_promtool_accepts_it_with_its_rules(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "metrics-token").write_text("token")
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    assert list(Path("/").glob(config["rule_files"][0].removeprefix("/")))
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.usefixtures("every_suite")
@pytest.mark.servers
def test_rules_are_found_in_a_folder_of_any_name(tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "odd" [a-b] {c} ünï \\ *?'
    shutil.copytree(CHECKOUT / "prometheus" / "rules", odd / "rules")
    text = prometheus.configuration(
        CHECKOUT / "prometheus" / "prometheus.yml", PORTS, odd, rules=odd / "rules"
    )
    (odd / "metrics-token").write_text("token")
    (odd / "prometheus.yml").write_text(text)
    command = ["promtool", "check", "config", str(odd / "prometheus.yml")]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    files = len(list((odd / "rules").glob("*.yml")))
    assert f"{files} rule files found" in checked.stdout


@pytest.mark.servers
def test_the_query_log_is_preallocated(prometheus_server: Start) -> None:
    server = prometheus_server({})
    mapped = server.folder / "data" / "queries.active"
    assert mapped.stat().st_blocks * 512 < mapped.stat().st_size
    prometheus.preallocate_query_log(server.folder / "data")
    assert mapped.stat().st_blocks * 512 >= mapped.stat().st_size
    prometheus.preallocate_query_log(server.folder)  # a missing file is not created
    assert not (server.folder / "queries.active").exists()


@pytest.mark.servers
@pytest.mark.usefixtures("every_suite")
def test_what_fires_before_a_restart_fires_after_it(prometheus_server: Start) -> None:
    """Alertmanager would report its end, if it had to be pending again for longer than that."""
    folder = servers.temporary_folder()
    rule = {"alert": "Saturated", "expr": "vector(1)", "for": "3s"}
    (folder / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "one", "interval": "1s", "rules": [rule]}]})
    )
    folder.chmod(0o755)
    server = prometheus_server({"rule_files": [str(folder / "rules.yml")]})

    def firing_since() -> str:
        deadline = monotonic() + 60
        while True:
            for alert in httpx.get(f"{server.url}/api/v1/alerts").json()["data"]["alerts"]:
                if alert["state"] == "firing":
                    since: str = alert["activeAt"]
                    return since[: len("2026-11-30T12:00:00")]  # it is restored to the second
            assert monotonic() < deadline
            sleep(0.2)

    try:
        before = firing_since()
        server.stop()
        server.start()
        assert firing_since() == before
    finally:
        shutil.rmtree(folder)


def test_everything_is_kept_that_a_rule_looks_back_to() -> None:
    longest = max(
        seconds(window)
        for file in (CHECKOUT / "prometheus" / "rules").glob("*.yml")
        for window in re.findall(r"\[(\d+[smhd])[]:]", file.read_text())
    )
    compose = (CHECKOUT / "compose.yaml").read_text()
    for kept in (*re.findall(r"retention\.time=(\d+[smhd])", compose), PROMETHEUS_KEEP.default):
        assert seconds(kept) > longest, kept


@pytest.mark.servers
def test_targets_are_found_without_a_file_notification(tmp_path: Path) -> None:
    """A folder that was replaced; the same goes for what changes during a reload."""
    source = CHECKOUT / "prometheus"
    with ExitStack() as ended:
        folder = servers.temporary_folder()
        ended.callback(shutil.rmtree, folder)
        targets = folder / "targets"
        targets.mkdir()
        text = prometheus.configuration(
            source / "prometheus.yml",
            PORTS,
            tmp_path,
            rules=folder,
            targets=targets,
            interval="1s",
        )
        server = servers.start_prometheus(text)
        ended.callback(server.close)
        targets.rename(folder / "before")
        targets.mkdir()
        (targets / "late.yml").write_text(
            '[{"targets": ["127.0.0.1:9"], "labels": {"job": "late"}}]'
        )

        def jobs() -> set[str]:
            active = httpx.get(f"{server.url}/api/v1/targets").json()["data"]["activeTargets"]
            return {target["labels"]["job"] for target in active}

        deadline = monotonic() + 30
        while "late" not in jobs():
            assert monotonic() < deadline
            sleep(0.2)


@pytest.mark.servers
def test_only_up_says_that_a_target_is_declared(
    config: dict[str, Any], prometheus_server: Start
) -> None:
    (services,) = (job for job in config["scrape_configs"] if job["job_name"] == "services")
    every = {"global": {"scrape_interval": "1s"}}
    address = prometheus_server(every).url.removeprefix("http://")
    with ExitStack() as ended:
        folder = servers.temporary_folder()
        ended.callback(shutil.rmtree, folder)
        (folder / "shop.yml").write_text(f'[{{targets: ["{address}"], labels: {{job: shop}}}}]')
        folder.chmod(0o755)
        services["file_sd_configs"][0]["files"] = [str(folder / "*.yml")]
        server = prometheus_server({**every, "scrape_configs": [services]})

        def names(selector: str) -> set[str]:
            answer = httpx.get(f"{server.url}/api/v1/series", params={"match[]": selector})
            return {series["__name__"] for series in answer.json()["data"]}

        deadline = monotonic() + 60
        while "prometheus_build_info" not in names('{job="shop"}'):
            assert monotonic() < deadline
            sleep(0.1)
        declared = names('{watched_by="vitals"}')
        assert "up" in declared
        assert {name for name in declared if not name.startswith("scrape_")} == {"up"}
