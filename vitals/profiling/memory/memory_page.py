"""``/vitals/memory``: what grows in the process that answers.

For administrators only; without ``admin``, for clients of this machine.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from vitals.profiling.guarded_page import GuardedPage
from vitals.profiling.memory.allocations import TracedAlreadyError
from vitals.profiling.memory.growth import BusyError, Growth, look, to_json

PATH = "/vitals/memory"
SECONDS, MAX_SECONDS = 10, 300
TOP, MAX_TOP = 20, 100


class MemoryPage(GuardedPage):
    """ASGI application of the growth of memory, as JSON.

    ``seconds=N`` is how long to look, ``top=N`` how many lines, containers and types to name.
    """

    async def show(self, request: Request) -> Response:
        """Look at what grows."""
        asked = request.query_params
        seconds, top = asked.get("seconds", str(SECONDS)), asked.get("top", str(TOP))
        if not _is_number(seconds, MAX_SECONDS) or not _is_number(top, MAX_TOP):
            return PlainTextResponse(
                f"seconds: a number from 1 to {MAX_SECONDS}; top: one from 1 to {MAX_TOP}\n", 400
            )
        stopped = threading.Event()
        try:
            growth = await _in_a_thread(lambda: look(int(seconds), stopped))
        except (BusyError, TracedAlreadyError) as error:
            return PlainTextResponse(f"{error}\n", 503)
        finally:
            stopped.set()  # of a request that is cancelled
        content = json.dumps(to_json(growth, int(top)), indent=2) + "\n"
        return Response(content, media_type="application/json")


async def _in_a_thread(take: Callable[[], Growth]) -> Growth:
    """Take it in a thread of its own: those of anyio's pool are the application's."""
    loop = asyncio.get_running_loop()
    taken: asyncio.Future[Growth] = loop.create_future()

    def settle(result: Growth | None, error: Exception | None) -> None:
        if not taken.done():
            if error is not None:
                taken.set_exception(error)
            elif result is not None:
                taken.set_result(result)

    def run() -> None:
        result: Growth | None = None
        failed: Exception | None = None
        try:
            result = take()
        except Exception as error:  # noqa: BLE001  # raised where it is awaited
            failed = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="vitals memory", daemon=True).start()
    return await taken


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= most
