"""Prometheus's configuration on this machine."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import prometheus
from stack.installation import CHECKOUT
from stack.ports import Ports

PORTS = Ports(api=1111, prometheus=2222, alertmanager=3333)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    source = CHECKOUT / "prometheus"
    text = prometheus.configuration(
        source / "prometheus.yml", PORTS, tmp_path, rules=source / "rules"
    )
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_every_address_is_of_this_machine(config: dict[str, Any]) -> None:
    targets = {
        job["job_name"]: group["targets"]
        for job in config["scrape_configs"]
        for group in job.get("static_configs", [])
    }
    assert targets == {
        "api": ["127.0.0.1:1111"],
        "prometheus": ["127.0.0.1:2222"],
        "alertmanager": ["127.0.0.1:3333"],
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
