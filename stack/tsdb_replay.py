"""A Prometheus over existing TSDB blocks, to which no samples are added."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from stack import readiness
from stack.process.process import Process
from stack.servers import prometheus

_FLAGS = (
    "--storage.tsdb.retention.time=100y",
    "--storage.tsdb.min-block-duration=2h",  # equal: no compaction meanwhile
    "--storage.tsdb.max-block-duration=2h",
    "--query.timeout=10m",
)


class TsdbReplay:
    """Prometheus over a folder of blocks; it runs as long as the ``with`` block."""

    def __init__(self, data: Path) -> None:
        self._port = readiness.free_port()
        config = data / "prometheus.yml"
        config.write_text("{}\n")
        program = prometheus.server(config, data, self._port, None, _FLAGS)
        self._process = Process(program, log=data / "prometheus.log")

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
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


def promtool(*arguments: str) -> None:
    """Run ``promtool tsdb``.

    Raises:
        RuntimeError: It failed or is missing; the message holds its output.
    """
    command = ["promtool", "tsdb", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeError("promtool not found: install Debian's prometheus package") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-500:].strip()}")
