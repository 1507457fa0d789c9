"""Prometheus and Alertmanager: their command lines and Prometheus's configuration here."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from alerts.alertmanager import escape_glob
from stack import readiness
from stack.installation.ports import Ports
from stack.installation.service_user import Account
from stack.process.process import Program
from vitals import secure_files

NO_ORIGIN = "none"
"""What no page has as its origin: by default every page of the web may read what is measured."""


def server(
    config: Path, data: Path, port: int, account: Account | None, flags: Sequence[str] = ()
) -> Program:
    """Prometheus on loopback; its admin interface stays off."""
    return Program(
        "prometheus",
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={readiness.LOOPBACK}:{port}",
            f"--web.external-url=http://{readiness.LOOPBACK}:{port}/",
            f"--web.cors.origin={NO_ORIGIN}",
            "--enable-feature=exemplar-storage,extra-scrape-metrics",
            "--log.level=warn",
            *flags,
        ],
        account=account,
        cwd=data,
    )


def reserve(data: Path) -> None:
    """Have the disk keep room for the list of running queries, which Prometheus maps.

    It makes the file without filling it. On a disk that has become full, the first query that
    writes to a new page of it would end Prometheus with SIGBUS.
    """
    with suppress(OSError):  # full already, or a version that keeps the list elsewhere
        file = secure_files.open_file(data / "queries.active", os.O_RDWR)
        try:
            os.posix_fallocate(file, 0, max(1, os.fstat(file).st_size))
        finally:
            os.close(file)


def alertmanager(
    config: Path,
    data: Path,
    port: int,
    account: Account | None,
    flags: Sequence[str] = (),
    *,
    gate: int = 0,
    prefix: str = "",
) -> Program:
    """Alertmanager on loopback, alone: without an address it speaks to no cluster.

    Args:
        config: Its configuration.
        data: The folder it writes to.
        port: Where it listens.
        account: Who runs it.
        flags: More of its options.
        gate: The port of the gate before it, if there is one; links lead there.
        prefix: The path below which it answers.
    """
    name = "alertmanager" if shutil.which("alertmanager") else "prometheus-alertmanager"  # Debian's
    return Program(
        "alertmanager",
        [
            name,
            f"--config.file={config}",
            f"--storage.path={data}",
            f"--web.listen-address={readiness.LOOPBACK}:{port}",
            f"--web.external-url=http://{readiness.LOOPBACK}:{gate or port}/",
            f"--web.route-prefix=/{prefix}",
            "--cluster.listen-address=",
            "--log.level=warn",
            *flags,
        ],
        account=account,
        cwd=data,
    )


def answers(port: int) -> bool:
    """Whether either of the two is ready."""
    return readiness.http_answers(port, "/-/ready")


def configuration(
    source: Path,
    ports: Ports,
    secrets: Path,
    *,
    rules: Path,
    targets: Path | None = None,
    interval: str | None = None,
) -> str:
    """The committed configuration, made for containers, with the addresses of this machine.

    Args:
        source: `prometheus/prometheus.yml`.
        ports: Where the parts listen here.
        secrets: The folder whose files stand for the containers' secrets of the same names.
        rules: The folder of the rules.
        targets: The folder of the targets, if they do not lie beside the source.
        interval: How often to scrape, to evaluate and to look for targets, instead of what is
            written.
    """
    config: dict[str, Any] = yaml.safe_load(source.read_text())
    local = {
        name: f"{readiness.LOOPBACK}:{port}"
        for name, port in (
            ("api", ports.api),
            ("prometheus", ports.prometheus),
            ("localhost", ports.prometheus),
            ("alertmanager", ports.alertmanager),
        )
    }
    targets = targets or source.parent.absolute() / "targets"
    config["rule_files"] = [
        f"{escape_glob(str(rules.absolute()))}/{Path(path).name}" for path in config["rule_files"]
    ]
    if interval:
        names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
        config["global"] |= dict.fromkeys(names, interval)
    peers = config.get("alerting", {}).get("alertmanagers", [])
    for job in (*config["scrape_configs"], *peers):
        for group in job.get("static_configs", []):
            hosts = (target.partition(":")[0] for target in group["targets"])
            group["targets"] = [local[host] for host in hosts if host in local]
        for group in job.get("file_sd_configs", []):
            group["files"] = [
                f"{escape_glob(str(targets))}/{Path(path).name}" for path in group["files"]
            ]
            if interval:
                group["refresh_interval"] = interval
        if token := job.get("authorization", {}).get("credentials_file"):
            job["authorization"]["credentials_file"] = str(secrets / Path(token).name)
    return yaml.safe_dump(config, sort_keys=False)
