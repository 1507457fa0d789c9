"""A watch with firing alerts: Prometheus with the viewer, Alertmanager and its gate, messages."""

import html
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from alerts import alertmanager
from alerts.receivers import ReceiverSettings
from stack import readiness
from stack.inbox import gate
from stack.installation import service_user
from tests import servers
from tests.alerts.receiving import Received, http_server

ODD_JOB = 'my "odd" \\ api+1 & #2 100% ünï'
"""A label value with everything that links tend to lose."""
_PENDING_SECONDS = 3
_WAIT_SECONDS = 60.0
RULES = {
    "groups": [
        {
            "name": "drill",
            "rules": [
                {"record": "job:up:count", "expr": "count by (job) (up)"},
                {
                    "alert": "LatencyP95High",
                    "expr": "vector(1)",
                    "for": f"{_PENDING_SECONDS}s",
                    "labels": {"job": ODD_JOB, "severity": "page", "cache": "products"},
                    "annotations": {
                        "summary": "it is slow",
                        "description": "p95 is 475ms",
                        "board": "svc-db",
                        "runbook": "LatencyP95High.md",
                        "worst_route": "GET /orders/{id}, 12 bad",
                        "trace": "traces/example/?service=api&reason=objective",
                        "logs": "javascript:alert(1)",
                    },
                },
                {
                    "alert": "NPlusOne",
                    "expr": "vector(1)",
                    "for": "1s",
                    "labels": {"job": ODD_JOB, "severity": "ticket"},
                    "annotations": {"summary": "one statement for each row"},
                },
                {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}},
                {
                    "alert": "SlowToFire",
                    "expr": "vector(1)",
                    "for": "1h",
                    "labels": {"job": "api", "severity": "ticket"},
                },
                {
                    "record": "failing",
                    "expr": 'label_replace({__name__=~"up|scrape_duration_seconds"},'
                    ' "instance", "", "", "")',
                },
            ],
        }
    ]
}


@dataclass(frozen=True)
class Watch:
    """A running watch.

    Attributes:
        prometheus: Serves the viewer at `/user/`.
        alertmanager: Alertmanager itself.
        gate: URL of the gate in front of it.
        received: The messages.
    """

    prometheus: servers.MonitoringServer
    alertmanager: servers.MonitoringServer
    gate: str
    received: Received

    @property
    def viewer(self) -> str:
        """URL of the viewer."""
        return f"{self.prometheus.url}/user"

    def links(self) -> dict[str, str]:
        """The links of the message of the page, by their name."""
        until(lambda: bool(self._texts()), "a message")
        found = re.findall(r"<([^|>\s]+)\|(Board|Runbook|Silence)\b[^>]*>", self._texts()[0])
        return {name: html.unescape(address) for address, name in found}

    def _texts(self) -> list[str]:
        messages = [post["attachments"][0] for post in self.received.posts["/slack"]]
        return [each["text"] for each in messages if "LatencyP95High" in each["title"]]

    def silences(self) -> list[dict[str, Any]]:
        """Silences that Alertmanager has."""
        found: list[dict[str, Any]] = httpx.get(f"{self.alertmanager.url}/api/v2/silences").json()
        return found

    def expire_all(self) -> None:
        """Expire all silences."""
        for silence in self.silences():
            httpx.delete(f"{self.alertmanager.url}/api/v2/silence/{silence['id']}")


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {_WAIT_SECONDS:.0f} s: {what}"
        time.sleep(0.1)


@contextmanager
def start(publish: Callable[[servers.MonitoringServer], None], site_flag: str) -> Iterator[Watch]:
    """Start all of it, and wait until the alerts have arrived.

    Args:
        publish: Publishes the viewer for a Prometheus.
        site_flag: Prometheus's flag of the folder of the viewer.
    """
    with ExitStack() as started:
        prometheus = servers.start_prometheus({}, [site_flag, "--rules.alert.resend-delay=1s"])
        started.callback(prometheus.close)
        publish(prometheus)
        port = readiness.free_port()
        received = Received()
        web = started.enter_context(http_server(received))
        manager = _start_alertmanager(started, f"{prometheus.url}/user", f"{web}/slack")
        server = gate.build(
            port,
            manager.url,
            page_origins=[prometheus.url],
            home=f"{prometheus.url}/user/silences/",
        )
        started.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        started.callback(thread.join)
        started.callback(server.shutdown)
        _configure(prometheus, port)
        watch = Watch(prometheus, manager, f"http://{readiness.LOOPBACK}:{port}", received)
        until(lambda: len(_alerts(manager)) == 3, "three alerts in Alertmanager")
        yield watch


def _start_alertmanager(started: ExitStack, viewer: str, slack: str) -> servers.MonitoringServer:
    folder = servers.temporary_folder()
    (folder / "slack").write_text(slack)
    folder.chmod(0o755)
    (folder / "slack").chmod(0o644)
    settings = ReceiverSettings(
        slack_file=str(folder / "slack"),
        boards=viewer,
        runbooks=f"{viewer}/runbooks",
        silences=f"{viewer}/silences/new/",
    )
    alertmanager.write(settings, folder / "alertmanager.yml", folder / "templates")
    manager = servers.start_alertmanager(
        alertmanager.configuration(settings, str(folder / "templates"), alertmanager.FAST_TIMINGS)
        | {
            "inhibit_rules": [
                {
                    "source_matchers": ["severity=page"],
                    "target_matchers": ["severity=ticket"],
                    "equal": ["job"],
                }
            ]
        }
    )
    started.callback(manager.close)
    return manager


def _configure(prometheus: servers.MonitoringServer, gate_port: int) -> None:
    dead = readiness.free_port()
    config = {
        "global": {"evaluation_interval": "1s", "scrape_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [f"{readiness.LOOPBACK}:{gate_port}"]}]}
            ]
        },
        "scrape_configs": [
            {
                "job_name": ODD_JOB,
                "static_configs": [
                    {
                        "targets": [
                            f"{readiness.LOOPBACK}:{prometheus.port}",
                            f"{readiness.LOOPBACK}:{dead}",
                        ]
                    }
                ],
            }
        ],
    }
    (prometheus.folder / "rules.yml").write_text(yaml.safe_dump(RULES))
    (prometheus.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    if user := service_user.default_user():
        user.chown(prometheus.folder)
    prometheus.reload()


def _alerts(manager: servers.MonitoringServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{manager.url}/api/v2/alerts").json()
    return found
