"""A pair of Prometheus and Alertmanager, as the stack runs it: one of each is killed."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stack import monitoring_services, pair, readiness, services
from stack.installation import secrets, service_user
from stack.installation.paths import Installation
from stack.installation.ports import Ports
from stack.process.process import Process
from tests import servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
JOB = "shop"
_SECONDS = 90.0


class Pair:
    """Two Prometheus, two Alertmanagers behind their gates, and an inbox; nothing restarts them."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        ports = {name: readiness.free_port() for name in (*Ports.chosen(), "PROMETHEUS_2")}
        ports["ALERTMANAGER_2"] = readiness.free_port()
        environment = {f"{name}_PORT": str(port) for name, port in ports.items()}
        user = service_user.default_user()
        self.here = replace(
            Installation(folder, Ports.of(environment), user), pair=True, python_user=None
        )
        secrets.make(self.here.secrets, None)
        self.targets = folder / "targets"
        monitoring = monitoring_services.monitoring(
            self.here,
            monitoring_services.prometheus_secrets(self.here),
            fast=True,
            targets=self.targets,
        )
        self.processes: dict[str, Process] = {}
        for service in (services.inbox(self.here, readiness.free_port()), *monitoring):
            process = Process(service.program, log=folder / f"{service.name}.log")
            started.callback(process.stop)
            process.start()
            self.processes[service.name] = process
        for service in monitoring:
            if service.ready:
                self.processes[service.name].wait_ready(service.ready, 60)

    def get(self, port: int, path: str, **parameters: str) -> Any:
        response = httpx.get(f"http://127.0.0.1:{port}{path}", params=parameters, timeout=10)
        return response.raise_for_status().json()

    def query(self, port: int, promql: str) -> list[dict[str, Any]]:
        found = self.get(port, "/api/v1/query", query=promql)
        return list(found["data"]["result"])

    def scrape(self, address: str) -> None:
        """Have both Prometheus scrape a target, as the job."""
        text = yaml.safe_dump([{"targets": [address], "labels": {"job": JOB}}])
        (self.targets / "shop.yml").write_text(text)

    def told(self, status: str = "firing") -> list[dict[str, Any]]:
        """What the inbox got of the job."""
        notes = self.get(self.here.ports.inbox, "/")["notifications"]
        return [n for n in notes if n["labels"].get("job") == JOB and n["status"] == status]


@pytest.fixture
def watching() -> Iterator[Pair]:
    folder = servers.temporary_folder()
    with ExitStack() as started:
        started.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Pair(folder, started)


def wait_for(condition: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := _tried(condition)):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def _tried(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except httpx.HTTPError:
        return None


def test_one_of_each_is_killed_while_an_alert_fires_and_the_page_arrives_once(
    watching: Pair,
) -> None:
    ports = watching.here.ports
    for port in (ports.alertmanager, ports.alertmanager_2):
        wait_for(partial(_is_settled, watching, port))
    dead = readiness.free_port()
    watching.scrape(f"127.0.0.1:{dead}")
    firing = f'ALERTS{{alertname="TargetDown",job="{JOB}",alertstate="firing"}}'
    wait_for(lambda: watching.query(ports.prometheus_2, firing))
    watching.processes["prometheus"].kill()
    watching.processes["alertmanager"].kill()

    [page] = wait_for(watching.told)
    assert page["labels"]["alertname"] == "TargetDown"
    assert "replica" not in page["labels"]
    # The gate of the killed one answers with the other, and silences there are shared.
    assert [
        alert["labels"]["alertname"]
        for alert in watching.get(ports.alertmanager, "/api/v2/alerts", filter=f'job="{JOB}"')
        if alert["labels"]["severity"] == "page"
    ] == ["TargetDown"]

    # Both come back while it fires: no second page is sent.
    for name in ("alertmanager", "prometheus"):
        watching.processes[name].start()
    both = 'count by (job) (ALERTS{alertname="TargetDown"})'
    wait_for(lambda: watching.query(ports.prometheus, both))
    seen = _evaluations(watching, ports.prometheus)
    wait_for(lambda: _evaluations(watching, ports.prometheus) > seen + 5)
    assert len(watching.told()) == 1
    # No scrape is lost: the one that was never killed has an answer of each second.
    lost = f'max_over_time((time() - timestamp(up{{job="{JOB}"}}))[15s:1s])'
    [gap] = watching.query(ports.prometheus_2, lost)
    assert float(gap["value"][1]) < 3


def _is_settled(watching: Pair, port: int) -> bool:
    cluster = watching.get(port, "/api/v2/status")["cluster"]
    return (cluster["status"], len(cluster.get("peers") or ())) == ("ready", 2)


def _evaluations(watching: Pair, port: int) -> float:
    [one] = watching.query(port, "sum(prometheus_rule_group_iterations_total)") or [
        {"value": (0, 0)}
    ]
    return float(one["value"][1])


def test_each_half_scrapes_and_notifies_both_and_differs_in_its_replica_alone(
    watching: Pair,
) -> None:
    ports = watching.here.ports
    configs = [
        yaml.safe_load(watching.get(port, "/api/v1/status/config")["data"]["yaml"])
        for port in (ports.prometheus, ports.prometheus_2)
    ]
    labels = [config["global"].pop("external_labels") for config in configs]
    assert labels == [{"replica": "a"}, {"replica": "b"}]
    for config in configs:
        config.pop("rule_files")  # each has its own folder
    assert configs[0] == configs[1]
    [peers] = configs[0]["alerting"]["alertmanagers"]
    assert len(peers["static_configs"][0]["targets"]) == 2
    assert json.dumps(configs[0]).count(f"127.0.0.1:{ports.prometheus_2}") == 1


def test_without_a_pair_there_is_one_of_each(tmp_path: Path) -> None:
    here = Installation(tmp_path, Ports())
    [half] = pair.halves(here)
    assert half.replica == ""
    assert half.alertmanager_flags([half]) == ()
