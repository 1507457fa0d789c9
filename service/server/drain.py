"""Drain: after SIGTERM the process serves on for a while, and `/readyz` fails.

A load balancer needs some seconds to notice that a process ends. Until then it sends requests,
which a closed listener would refuse.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_log = logging.getLogger(__name__)


class Drain:
    """Delays the server's own handling of SIGTERM.

    A second SIGTERM ends the process without further delay, and so does SIGINT.

    Args:
        seconds: The delay; 0 for none.

    Attributes:
        has_begun: Whether the process will end: new requests should go elsewhere.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.has_begun = False

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle SIGTERM until the block ends; the server must have set its own handler before."""
        if not self._seconds or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        servers = signal.getsignal(signal.SIGTERM)

        def end() -> None:
            if callable(servers):
                servers(signal.SIGTERM, None)
            elif servers is not signal.SIG_IGN:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.raise_signal(signal.SIGTERM)

        def begin() -> None:
            _log.info("SIGTERM: not ready from now on, ends in %g s", self._seconds)
            loop.call_later(self._seconds, end)

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.has_begun:
                end()
            else:
                self.has_begun = True
                loop.call_soon_threadsafe(begin)  # the loop may be waiting for events

        signal.signal(signal.SIGTERM, handle)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGTERM) is handle:
                signal.signal(signal.SIGTERM, servers)
