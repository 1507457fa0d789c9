"""A real Prometheus over data that are there already and that nobody adds to."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from stack import readiness
from stack.process.process import Process
from stack.servers import prometheus

_QUIET = (
    "--storage.tsdb.retention.time=100y",
    "--storage.tsdb.min-block-duration=2h",  # both the same: it compacts nothing meanwhile
    "--storage.tsdb.max-block-duration=2h",
    "--query.timeout=10m",
)


class Archive:
    """Prometheus over a folder of blocks, for as long as the ``with`` block lasts."""

    def __init__(self, data: Path) -> None:
        self._port = readiness.free_port()
        config = data / "prometheus.yml"
        config.write_text("{}\n")
        program = prometheus.server(config, data, self._port, None, _QUIET)
        self._process = Process(program, log=data / "prometheus.log")

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://{readiness.LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_ready(lambda: prometheus.answers(self._port), seconds=300)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stop()


def promtool(*words: str) -> None:
    """Run ``promtool tsdb``.

    Raises:
        RuntimeError: It failed, or is not there; holds what it said.
    """
    command = ["promtool", "tsdb", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError("promtool is missing; it comes with Debian's prometheus") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-500:].strip()}")
