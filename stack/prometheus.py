"""Prometheus and Alertmanager: their command lines."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from stack import probes
from stack.account import Account
from stack.processes import Program


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
            f"--web.listen-address={probes.LOOPBACK}:{port}",
            f"--web.external-url=http://{probes.LOOPBACK}:{port}/",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
            *flags,
        ],
        account=account,
        cwd=data,
    )


def alertmanager(
    config: Path, data: Path, port: int, account: Account | None, flags: Sequence[str] = ()
) -> Program:
    """Alertmanager on loopback, alone: without an address it speaks to no cluster."""
    name = "alertmanager" if shutil.which("alertmanager") else "prometheus-alertmanager"  # Debian's
    return Program(
        "alertmanager",
        [
            name,
            f"--config.file={config}",
            f"--storage.path={data}",
            f"--web.listen-address={probes.LOOPBACK}:{port}",
            f"--web.external-url=http://{probes.LOOPBACK}:{port}/",
            "--cluster.listen-address=",
            "--log.level=warn",
            *flags,
        ],
        account=account,
        cwd=data,
    )


def answers(port: int) -> bool:
    """Whether either of the two is ready."""
    return probes.http_answers(port, "/-/ready")
