"""Leaks of a service, as context managers: each uses up a limited resource, little by little.

Limits are lowered, so that a leak is reported within minutes and the machine does not notice it.
"""

import asyncio
import mmap
import os
import resource
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import anyio.to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from stack.drills.defective_interface import DefectiveService

_FILES, _SLOW_FILES = 256, 1024
_ADDRESS_SPACE, _ALLOCATION = 1 << 30, 8 << 20
_DISK, _WRITTEN = 64 << 20, 1 << 20
_PAUSE = 0.5
"""Seconds between two steps of a leak."""
_SLOW_FROM, _SLOW_STEP = 0.28, 1 / 1024
"""The share of a limit that a slow leak has used at its start, too little to be a leak yet, and
what it adds every other second: the limit is reached after 25 minutes, so no forecast of 10 minutes
sees it.
"""
_SLOW_PAUSE = 4 * _PAUSE
_HEAP, _HEAP_STEP = 1 << 30, 6 << 20
"""Bytes of memory in use after which the heap grows no more, and how much it grows by at a time."""
_ORDER = 1 << 15
"""Bytes of an order."""
ORDERS: list[dict[str, object]] = []
"""What the drill's service forgets to forget."""


@asynccontextmanager
async def _repeating(step: Callable[[], Awaitable[None]], pause: float) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await step()
            await asyncio.sleep(pause)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()


@contextmanager
def _limited(which: int, most: int) -> Iterator[None]:
    before, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (before, hard))


@asynccontextmanager
async def _leak_files(limit: int, pause: float) -> AsyncIterator[None]:
    with ExitStack() as held:
        held.enter_context(_limited(resource.RLIMIT_NOFILE, limit))

        async def step() -> None:
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))

        async with _repeating(step, pause):
            yield


def _open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@asynccontextmanager
async def _leak_files_slowly(_service: DefectiveService) -> AsyncIterator[None]:
    with ExitStack() as held:
        held.enter_context(_limited(resource.RLIMIT_NOFILE, _SLOW_FILES))

        async def step() -> None:
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))

        while _open_files() < _SLOW_FROM * _SLOW_FILES:
            await step()
        async with _repeating(step, _SLOW_PAUSE):
            yield


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@asynccontextmanager
async def _leak_memory(_service: DefectiveService) -> AsyncIterator[None]:
    """Reserve memory without touching it: the limit counts it, the machine does not."""
    with ExitStack() as held:
        most = _address_space() + _ADDRESS_SPACE
        held.enter_context(_limited(resource.RLIMIT_AS, most))

        async def step() -> None:
            held.callback(mmap.mmap(-1, _ALLOCATION).close)

        async with _repeating(step, _PAUSE / 2):
            yield


@asynccontextmanager
async def _leak_memory_slowly(_service: DefectiveService) -> AsyncIterator[None]:
    with ExitStack() as held:
        most = int(_address_space() / _SLOW_FROM)
        held.enter_context(_limited(resource.RLIMIT_AS, most))

        async def step() -> None:
            held.callback(mmap.mmap(-1, int(most * _SLOW_STEP)).close)

        async with _repeating(step, _SLOW_PAUSE):
            yield


@asynccontextmanager
async def _grow_heap(_service: DefectiveService) -> AsyncIterator[None]:
    """Keep orders in a list of this module, up to a size that any machine has."""

    async def step() -> None:
        for _ in range(_HEAP_STEP // _ORDER):
            if len(ORDERS) * _ORDER < _HEAP:
                _remember(len(ORDERS))

    async with _repeating(step, _PAUSE):
        yield
    ORDERS.clear()


def _remember(number: int) -> None:
    ORDERS.append({"number": number, "note": b"x" * _ORDER})


@asynccontextmanager
async def _small_disk(service: DefectiveService) -> AsyncIterator[BinaryIO]:
    """Mount a file system of its own in memory, which takes the superuser; yields a file there."""
    options = f"size={_DISK},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(service.folder)]
    await asyncio.to_thread(subprocess.run, mount, check=True)
    try:
        with tempfile.TemporaryFile(dir=service.folder, buffering=0) as file:
            yield cast("BinaryIO", file)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", str(service.folder)], check=True)


@asynccontextmanager
async def _fill_disk(service: DefectiveService) -> AsyncIterator[None]:
    async with _small_disk(service) as file:

        async def step() -> None:
            file.write(bytes(_WRITTEN))

        async with _repeating(step, _PAUSE):
            yield


@asynccontextmanager
async def _fill_disk_slowly(service: DefectiveService) -> AsyncIterator[None]:
    """Begin where the disk of the folder was: only what exceeds its earlier peaks is a leak."""
    disk = shutil.disk_usage(service.folder)
    async with _small_disk(service) as file:
        file.write(bytes(int(max(_SLOW_FROM, 1 - disk.free / disk.total) * _DISK)))

        async def step() -> None:
            file.write(bytes(int(_DISK * _SLOW_STEP)))

        async with _repeating(step, _SLOW_PAUSE):
            yield


@asynccontextmanager
async def _occupy_threads(_service: DefectiveService) -> AsyncIterator[None]:
    """Calls without a time-out that never return, as of a driver without ``async``."""
    over, calls = threading.Event(), set[asyncio.Task[bool]]()

    async def step() -> None:
        calls.add(asyncio.create_task(anyio.to_thread.run_sync(over.wait)))

    try:
        async with _repeating(step, 2 * _PAUSE):
            yield
    finally:
        over.set()
        await asyncio.gather(*calls)


@asynccontextmanager
async def _leak_connections(service: DefectiveService) -> AsyncIterator[None]:
    """Sessions that are never closed."""
    held: list[AsyncConnection] = []

    async def step() -> None:
        if len(held) < service.pool:
            held.append(await service.engine.connect())

    try:
        async with _repeating(step, 4 * _PAUSE):
            yield
    finally:
        for connection in held:
            await connection.close()


LEAKS: dict[str, Callable[[DefectiveService], AbstractAsyncContextManager[None]]] = {
    "descriptors": lambda _: _leak_files(_FILES, _PAUSE / 2),
    "gradualdescriptors": lambda _: _leak_files(_SLOW_FILES, 2 * _PAUSE),
    "slowdescriptors": _leak_files_slowly,
    "memory": _leak_memory,
    "slowmemory": _leak_memory_slowly,
    "heap": _grow_heap,
    "disk": _fill_disk,
    "slowdisk": _fill_disk_slowly,
    "threads": _occupy_threads,
    "sessions": _leak_connections,
}
"""By name in the URL."""
