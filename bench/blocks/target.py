"""The service whose event loop is blocked: endpoints that block it, and others that are benign.

A line that blocks says so in a comment, ``# blocks: KIND``.
"""

import argparse
import asyncio
import hashlib
import json
import os
import queue
import re
import socket
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from vitals import instrument

app = FastAPI()
instrument(app, service_name="blocks", logs=False)

_SCRATCH = Path(os.environ.get("BLOCKS_SCRATCH") or tempfile.gettempdir())
_LOCK = threading.Lock()
_DATABASE = _SCRATCH / "data.sqlite"
_FIFO = _SCRATCH / "pipe"
_DOCUMENT = json.dumps([number / 7 for number in range(800_000)])


class _Helper:
    """A thread that runs functions after some time; starting one would block the loop too."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[float, Callable[[], object]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self, seconds: float, what: Callable[[], object]) -> None:
        self._work.put((time.monotonic() + seconds, what))

    def _run(self) -> None:
        while True:
            due, what = self._work.get()
            time.sleep(max(0.0, due - time.monotonic()))
            what()


_later = _Helper()


@app.get("/sleep")
async def sleep(seconds: float = 0.1) -> None:
    """Sleep without await."""
    time.sleep(seconds)  # blocks: sleep  # noqa: ASYNC251


@app.get("/cpu")
async def cpu(seconds: float = 0.1) -> int:
    """Compute in Python."""
    ends, count = time.thread_time() + seconds, 0
    while time.thread_time() < ends:  # blocks: cpu
        count += 1  # blocks: cpu
    return count


@app.get("/regex")
async def regex(seconds: float = 0.1) -> bool:
    """Backtrack, in one call that holds the interpreter's lock."""
    length = 21 + int(seconds >= 0.25)
    return re.match(r"(a|a)*$", "a" * length + "b") is None  # blocks: regex


@app.get("/driver")
async def driver(seconds: float = 0.1) -> None:
    """Wait for a database's lock in a driver that is not asynchronous."""
    holder = sqlite3.connect(_DATABASE, check_same_thread=False, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    own = sqlite3.connect(_DATABASE, isolation_level=None)
    _later(seconds, lambda: holder.execute("ROLLBACK"))
    own.execute("BEGIN EXCLUSIVE")  # blocks: driver
    own.execute("ROLLBACK")
    own.close()


@app.get("/http")
async def http(seconds: float = 0.1) -> int:
    """Call another service by a client that is not asynchronous."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def answer() -> None:
        connection, _ = server.accept()
        connection.recv(65_536)
        time.sleep(seconds)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()
        server.close()

    _later(0, answer)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as found:  # blocks: http  # noqa: ASYNC210
        return int(found.status)


@app.get("/file")
async def file(seconds: float = 0.1) -> str:
    """Read a file that is slow."""
    if not _FIFO.exists():
        os.mkfifo(_FIFO)
    _later(seconds, lambda: _FIFO.write_text("done"))
    return _FIFO.read_text()  # blocks: file


@app.get("/lock")
async def lock(seconds: float = 0.1) -> None:
    """Wait for a lock that another thread holds."""
    _LOCK.acquire()
    _later(seconds, _LOCK.release)
    with _LOCK:  # blocks: lock
        pass


@app.get("/hash")
async def hashed(seconds: float = 0.1) -> str:
    """Hash a password, which gives the interpreter's lock away."""
    rounds = int(seconds * 5_000_000)
    return hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", rounds).hex()  # blocks: hash


@app.get("/json")
async def decode() -> int:
    """Decode a large document, in one call that holds the interpreter's lock."""
    return len(json.loads(_DOCUMENT))  # blocks: json


@app.get("/benign/compute")
async def compute() -> int:
    """Compute for about two milliseconds."""
    return sum(number * number for number in range(20_000))


@app.get("/benign/wait")
async def wait() -> None:
    """Wait as one should."""
    await asyncio.sleep(0.05)


@app.get("/benign/thread")
def thread() -> int:
    """Compute in a thread of anyio's pool."""
    return sum(number * number for number in range(20_000))


@app.get("/benign/list")
async def items() -> list[dict[str, int]]:
    """Respond with a list that is serialised."""
    return [{"number": number} for number in range(200)]


def main() -> None:
    """Serve on a free port, which is printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    loop = parser.parse_args().loop
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, loop=loop, log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
