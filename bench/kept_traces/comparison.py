"""What the store has of the requests that must be kept, and since when."""

import asyncio
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench.kept_traces.witness import Seen

WITHIN = 10.0
"""Seconds within which all must be stored."""
GIVE_UP = 40.0
_FIRST_LOOK, _PAUSE = 1.2, 0.7
_AT_ONCE = 4


@dataclass
class Stored:
    """What the store has of one request.

    Attributes:
        after: Seconds from the answer until the whole trace and its lines were found; None if that
            never was.
        problem: What is missing.
        lines: Lines that it has.
    """

    after: float | None = None
    problem: str = ""
    lines: int = 0


class Comparison:
    """Looks for each bad request in the store, by Tempo's and Loki's API.

    Args:
        store: URL of the store.
        seen: Returns all requests so far.
    """

    def __init__(self, store: str, seen: Callable[[], Sequence[Seen]]) -> None:
        self._store, self._seen = store, seen
        self._known: set[str] = set()
        self.found: dict[str, tuple[Seen, Stored]] = {}

    async def run(self) -> None:
        """Look for them until cancelled."""
        looking: set[asyncio.Task[None]] = set()
        at_once = asyncio.Semaphore(_AT_ONCE)
        async with httpx.AsyncClient(base_url=self._store, timeout=15, trust_env=False) as client:
            try:
                while True:
                    for each in self._seen()[:]:
                        if each.bad and each.trace_id not in self._known:
                            self._known.add(each.trace_id)
                            task = asyncio.create_task(self._look_for(each, client, at_once))
                            looking.add(task)
                            task.add_done_callback(looking.discard)
                    await asyncio.sleep(_PAUSE / 2)
            finally:
                if looking:
                    await asyncio.wait(looking, timeout=GIVE_UP + 5)

    async def _look_for(
        self, each: Seen, client: httpx.AsyncClient, at_once: asyncio.Semaphore
    ) -> None:
        stored = Stored()
        self.found[each.trace_id] = each, stored
        await asyncio.sleep(max(0.0, each.ended + _FIRST_LOOK - time.time()))
        while time.time() < each.ended + GIVE_UP:
            async with at_once:
                try:
                    stored.problem = await _missing(each, stored, client)
                except (httpx.HTTPError, ValueError) as error:
                    stored.problem = f"the store: {type(error).__name__}"
            if not stored.problem:
                stored.after = time.time() - each.ended
                return
            await asyncio.sleep(_PAUSE)


async def _missing(each: Seen, stored: Stored, client: httpx.AsyncClient) -> str:
    """What the store lacks of a request; empty if nothing."""
    answer = await client.get(f"/api/traces/{each.trace_id}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return "no trace"
    spans = [
        span
        for batch in answer.raise_for_status().json()["batches"]
        for scope in batch["scopeSpans"]
        for span in scope["spans"]
    ]
    parents = {_id(span["spanId"]) for span in spans} | {each.span_id}
    roots = [span for span in spans if _id(span.get("parentSpanId")) == each.span_id]
    if len(roots) != 1:
        return f"{len(roots)} server spans"
    if any(_id(span.get("parentSpanId")) not in parents for span in spans):
        return "a span without its parent"
    if len(spans) < each.spans:
        return f"{len(spans)} spans of at least {each.spans}"
    stored.lines = len(await lines(each, client))
    return "" if stored.lines else "no log line"


async def lines(each: Seen, client: httpx.AsyncClient) -> list[str]:
    """The bodies of its log lines in the store."""
    query = f'{{service_name="{each.service}"}} | trace_id="{each.trace_id}"'
    moment = int(each.ended * 1e9)
    params: dict[str, Any] = {"query": query, "start": moment - 60 * 10**9}
    params |= {"end": moment + 60 * 10**9, "limit": 1000}
    answer = await client.get("/loki/api/v1/query_range", params=params)
    streams = answer.raise_for_status().json()["data"]["result"]
    return [value[1] for stream in streams for value in stream["values"]]


def printed_lines(files: Sequence[Path]) -> Counter[str]:
    """Numbers of lines by trace id that a service has printed, whatever it has exported."""
    counts: Counter[str] = Counter()
    for file in files:
        for line in file.read_bytes().splitlines() if file.exists() else ():
            if b'"trace_id"' in line:
                try:
                    counts[msgspec.json.decode(line).get("trace_id", "")] += 1
                except msgspec.DecodeError:
                    continue  # torn by the kill of its process, or cut at the rotation of the file
    return counts


def _id(encoded: str | None) -> str:
    """An id as protobuf's JSON has it, in hexadecimal digits."""
    return b64decode(encoded or "").hex()
