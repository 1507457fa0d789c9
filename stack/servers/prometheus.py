"""Prometheus and Alertmanager: command lines, and Prometheus's configuration for this machine."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from alerts.alertmanager import escape_glob
from rules.pair import FEATURES, REPLICA
from stack import readiness
from stack.installation.ports import Ports
from stack.installation.service_user import ServiceUser
from stack.process.process import Program
from vitals import secure_files

RUNNER = "runner"
"""The job that scrapes the runner. Containers have none: their engine restarts them."""
OF_API = ("api", "postgres")
"""The jobs of the API and its database."""
_READERS = {"redis": "redis_reader"}
"""Jobs of readers that may not run, by the port that is 0 then."""
NO_ORIGIN = "none"
"""An origin that no web page has: by default Prometheus lets pages of every origin read metrics."""


def server(
    config: Path,
    data: Path,
    port: int,
    user: ServiceUser | None,
    flags: Sequence[str] = (),
    *,
    public: str = "",
) -> Program:
    """Prometheus on loopback; its admin API stays off. Its links point to `public`, if given."""
    return Program(
        "prometheus",
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={readiness.LOOPBACK}:{port}",
            f"--web.external-url={public or f'http://{readiness.LOOPBACK}:{port}'}/",
            f"--web.cors.origin={NO_ORIGIN}",
            # Alerts that were firing still do after a restart. By default those with a `for` below
            # ten minutes begin anew, and Alertmanager reports their end meanwhile.
            "--rules.alert.for-grace-period=0s",
            f"--enable-feature={','.join(FEATURES)}",
            "--log.level=warn",
            *flags,
        ],
        user=user,
        cwd=data,
    )


def preallocate_query_log(data: Path) -> None:
    """Preallocate Prometheus's memory-mapped log of active queries.

    Prometheus creates a sparse file. On a full disk, the first query that writes to a new page
    of it would end Prometheus with SIGBUS.
    """
    with suppress(OSError):  # disk full already, or a version with another file
        file = secure_files.open_file(data / "queries.active", os.O_RDWR)
        try:
            os.posix_fallocate(file, 0, max(1, os.fstat(file).st_size))
        finally:
            os.close(file)


def alertmanager(
    config: Path,
    data: Path,
    port: int,
    user: ServiceUser | None,
    flags: Sequence[str] = (),
    *,
    gate: int = 0,
    prefix: str = "",
    public: str = "",
) -> Program:
    """Alertmanager on loopback; clustering is off unless a flag names its address.

    Args:
        config: Configuration file.
        data: Data folder.
        port: Port to listen on.
        user: Service user.
        flags: Further options.
        gate: Port of the gate in front of it, if any; links point there.
        prefix: Route prefix.
        public: The address that links point to instead.
    """
    clustered = any(flag.startswith("--cluster.listen-address") for flag in flags)
    name = "alertmanager" if shutil.which("alertmanager") else "prometheus-alertmanager"  # Debian's
    return Program(
        "alertmanager",
        [
            name,
            f"--config.file={config}",
            f"--storage.path={data}",
            f"--web.listen-address={readiness.LOOPBACK}:{port}",
            f"--web.external-url={public or f'http://{readiness.LOOPBACK}:{gate or port}'}/",
            f"--web.route-prefix=/{prefix}",
            *(() if clustered else ("--cluster.listen-address=",)),
            # What was notified is written that often; after a kill, later ends are not known.
            "--data.maintenance-interval=15s",
            "--log.level=warn",
            *flags,
        ],
        user=user,
        cwd=data,
    )


def answers(port: int) -> bool:
    """Whether Prometheus or Alertmanager is ready on a port."""
    return readiness.http_answers(port, "/-/ready")


def configuration(
    source: Path,
    ports: Ports,
    secrets: Path,
    *,
    rules: Path,
    targets: Path | None = None,
    interval: str | None = None,
    jobs: Sequence[Mapping[str, Any]] = (),
    pair: Sequence[Ports] = (),
    replica: str = "",
) -> str:
    """The committed configuration, written for containers, with the addresses of this machine.

    Args:
        source: `prometheus/prometheus.yml`.
        ports: Ports of the services here.
        secrets: Folder of the secrets, named as those of the containers.
        rules: Folder of the rule files.
        targets: Folder of the target files, if not beside the source.
        interval: Overrides the scrape, evaluation and target refresh intervals.
        jobs: Scrape jobs in place of those of the API and its databases.
        pair: Ports of both halves of a pair: each scrapes and notifies both.
        replica: What tells the two Prometheus of a pair apart.
    """
    config: dict[str, Any] = yaml.safe_load(source.read_text())
    if jobs:
        kept = [job for job in config["scrape_configs"] if job["job_name"] not in OF_API]
        config["scrape_configs"] = kept
    config["scrape_configs"] = [
        job
        for job in config["scrape_configs"]
        if job["job_name"] not in _READERS or getattr(ports, _READERS[job["job_name"]])
    ]
    halves = pair or [ports]
    local = {
        name: [f"{readiness.LOOPBACK}:{port}" for port in dict.fromkeys(taken)]
        for name, taken in (
            ("api", [ports.api]),
            ("prometheus", [half.prometheus for half in halves]),
            ("localhost", [half.prometheus for half in halves]),
            ("alertmanager", [half.alertmanager for half in halves]),
            ("gate", [half.alertmanager for half in halves]),
            (RUNNER, [ports.runner]),
            ("issues", [ports.issues]),
            ("postgres-reader", [ports.postgres_reader]),
            ("redis-reader", [ports.redis_reader]),
            ("tempo", [ports.store]),  # here one store is both Tempo and Loki
        )
    }
    if replica:
        config["global"]["external_labels"] = {REPLICA: replica}
    targets = targets or source.parent.absolute() / "targets"
    if ports.runner:
        runner = {"targets": [RUNNER]}
        config["scrape_configs"].append({"job_name": RUNNER, "static_configs": [runner]})
    config["rule_files"] = [
        f"{escape_glob(str(rules.absolute()))}/{Path(path).name}" for path in config["rule_files"]
    ]
    if interval:
        names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
        config["global"] |= dict.fromkeys(names, interval)
    peers = config.get("alerting", {}).get("alertmanagers", [])
    for job in (*config["scrape_configs"], *peers):
        _hasten(job, interval)
        for group in job.get("static_configs", []):
            hosts = (target.partition(":")[0] for target in group["targets"])
            group["targets"] = [address for host in hosts for address in local.get(host, ())]
        for group in job.get("file_sd_configs", []):
            group["files"] = [
                f"{escape_glob(str(targets))}/{Path(path).name}" for path in group["files"]
            ]
            if interval:
                group["refresh_interval"] = interval
        if token := job.get("authorization", {}).get("credentials_file"):
            job["authorization"]["credentials_file"] = str(secrets / Path(token).name)
    config["scrape_configs"] += jobs
    return yaml.safe_dump(config, sort_keys=False)


def _hasten(job: dict[str, Any], interval: str | None) -> None:
    """Let a job with an interval of its own have another one."""
    if interval and "scrape_interval" in job:
        job.update(dict.fromkeys(("scrape_interval", "scrape_timeout"), interval))
