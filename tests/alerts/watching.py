"""A whole watch for tests: a target, Prometheus, Alertmanager, the reconciler and a receiver."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx

from alerts import alertmanager
from alerts.receivers import ReceiverSettings
from alerts.reconciler import keep_reconciling
from alerts.rule_files import every_alert
from stack.readiness import LOOPBACK
from tests import servers


class Notified(NamedTuple):
    """What a notification said of one alert."""

    alert: str
    instance: str
    status: str


TIMINGS = alertmanager.GroupTimings("0s", "1s", "1s", "1s", "1m", "1m")
AT_ONCE = ("scrape_interval", "scrape_timeout", "evaluation_interval")
JOB = "api"


class Watch:
    """Servers that can be restarted. Alerts have their real names, and the faults as conditions.

    Attributes:
        faults: Whether the condition of an alert is true, by its name and instance.
        notified: What the receiver was notified of, in order.
    """

    def __init__(self, started: ExitStack) -> None:
        self.faults: dict[tuple[str, str], bool] = {}
        self.notified: list[Notified] = []
        web = self._serve(started)
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        (folder / "rules.yml").write_text(json.dumps(_rules()))
        settings = ReceiverSettings(webhook=f"http://{web}/")
        config = alertmanager.configuration(settings, "", TIMINGS)
        del config["templates"]
        self.alertmanager = servers.start_alertmanager(config)
        started.callback(self.alertmanager.close)
        peer = f"{LOOPBACK}:{self.alertmanager.port}"
        self.prometheus = servers.start_prometheus(
            {
                "global": {**dict.fromkeys(AT_ONCE, "1s"),
                           "external_labels": {"cluster": "test", "replica": "a"}},
                "rule_files": [f"{folder}/rules.yml"],
                "alerting": {"alert_relabel_configs": [{"action": "labeldrop", "regex": "replica"}],
                             "alertmanagers": [{"static_configs": [{"targets": [peer]}]}]},
                "scrape_configs": [{"job_name": JOB, "honor_labels": True,
                                    "static_configs": [{"targets": [web]}]}],
            },
            ("--rules.alert.resend-delay=15s",),
        )  # fmt: skip
        started.callback(self.prometheus.close)
        self._ends = threading.Event()
        reconciling = threading.Thread(
            target=keep_reconciling,
            args=(self.prometheus.url, self.alertmanager.url, print, 0.5, self._ends.wait),
        )
        reconciling.start()
        started.callback(reconciling.join)
        started.callback(self._ends.set)

    def _serve(self, started: ExitStack) -> str:
        watch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'fault{{what="{alert}",instance="{where}"}} {int(is_true)}\n'
                         for (alert, where), is_true in watch.faults.items()]  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write("".join(lines).encode())

            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                watch.notified += [
                    Notified(
                        alert["labels"]["alertname"],
                        alert["labels"].get("instance", ""),
                        alert["status"],
                    )
                    for alert in message["alerts"]
                ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        server = started.enter_context(ThreadingHTTPServer((LOOPBACK, 0), Handler))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        started.callback(thread.join)
        started.callback(server.shutdown)
        return f"{LOOPBACK}:{server.server_port}"

    def begin(self, alert: str, instance: str = "a") -> None:
        """Make the condition of an alert true."""
        self.faults = {**self.faults, (alert, instance): True}

    def end(self, alert: str, instance: str = "a") -> None:
        """Make it false."""
        self.faults = {**self.faults, (alert, instance): False}

    def times_told(self, alert: str, status: str, instance: str = "a") -> int:
        """How often the receiver was notified that an alert fires or is resolved."""
        return self.notified.count(Notified(alert, instance, status))

    def was_notified(self, alert: str, status: str, instance: str = "a") -> bool:
        """Whether it was."""
        return self.times_told(alert, status, instance) > 0

    def is_firing(self, alert: str, instance: str = "a") -> bool:
        """Whether Prometheus says so."""
        response = httpx.get(f"{self.prometheus.url}/api/v1/alerts", timeout=30)
        wanted = {"alertname": alert, "instance": instance}
        return any(
            found["state"] == "firing" and wanted.items() <= found["labels"].items()
            for found in response.json()["data"]["alerts"]
        )

    def wait(self, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until a condition holds; the failure shows the notifications."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.notified
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop Prometheus and Alertmanager."""
        self.prometheus.stop()
        self.alertmanager.stop()

    def start(self) -> None:
        """Start them again, on the same data."""
        self.alertmanager.start()
        self.prometheus.start()


def _rules() -> dict[str, Any]:
    names = {alert.name: str(alert.severity) for alert in every_alert()}
    rules = [
        {
            "alert": name,
            "expr": f'max by (job, instance) (fault{{what="{name}"}}) == 1',
            "for": "1s",
            "labels": {"severity": severity},
        }
        for name, severity in names.items()
    ]
    watchdog = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}
    return {"groups": [{"name": "faults", "rules": [*rules, watchdog]}]}
