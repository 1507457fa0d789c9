"""The output of the services: read from their pipes, and written to the logs."""

import os
import selectors
import time
from contextlib import suppress

from stack.process.log_multiplexer import LogMultiplexer
from stack.process.service import SupervisedService

_CHUNK = 65_536


class Outputs:
    """The pipes of the running services.

    Args:
        logs: Receives what they write.
    """

    def __init__(self, logs: LogMultiplexer) -> None:
        self._logs = logs
        self._selector = selectors.DefaultSelector()

    def add(self, each: SupervisedService) -> None:
        """Read the output of a service that has just been started."""
        os.set_blocking(each.process.output, False)
        self._selector.register(each.process.output, selectors.EVENT_READ, each)

    def read(self, seconds: float) -> None:
        """Read what there is, or wait for it, for some seconds at most."""
        if not self._selector.get_map():
            time.sleep(seconds)
        for key, _ in self._selector.select(seconds):
            if not self._read_chunk(key.data):
                self._selector.unregister(key.fd)

    def close(self, each: SupervisedService) -> None:
        """Read the last output of a service that ended, while its pipe is open."""
        with suppress(BlockingIOError):  # what it has left in its process group has it open too
            while self._read_chunk(each):
                pass
        with suppress(KeyError):  # it was at its end before
            self._selector.unregister(each.process.output)

    def _read_chunk(self, each: SupervisedService) -> bytes:
        """Read what a service has written, and log it; empty at the end of its output."""
        data = os.read(each.process.output, _CHUNK)
        self._logs.write(each.name, data, quiet=each.service.quiet)
        return data
