"""The fuzzer finds no violation in the service, and finds injected ones."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from bench.fuzz import guided, target
from bench.fuzz.__main__ import find_slow, fuzz
from bench.fuzz.slow import BUDGET, Search
from bench.fuzz.target import InvariantError
from vitals.redaction import bodies
from vitals.redaction.bodies import Redaction
from vitals.validation import ijson, middleware


@pytest.mark.slow
def test_bodies_of_all_kinds_violate_no_invariant() -> None:
    statuses, lines = fuzz(500)
    assert statuses.total() == 500
    assert {200, 400, 401, 404, 413, 415, 422} <= set(statuses)
    assert lines > 300, "bodies are logged"


def leaks(_self: Any, content: bytes, *_: Any) -> str:
    return content.decode(errors="replace")


def raises(*_: Any) -> Any:
    raise LookupError


async def hangs(*_: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("where", "broken", "output"),
    [
        ((Redaction, "body"), leaks, "a secret was logged"),
        ((ijson, "fault"), raises, "responds 500"),
        ((middleware._ValidatedRequest, "_receive_in_time"), hangs, "no response"),
    ],
)
@pytest.mark.slow
def test_injected_violations_are_found(
    where: tuple[Any, str],
    broken: Callable[..., Any],
    output: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target, "TIMEOUT", 0.5)
    monkeypatch.setattr(*where, broken)
    with pytest.raises(InvariantError, match=output):
        fuzz(100)


@pytest.mark.slow
def test_no_slow_body_is_found() -> None:
    assert find_slow(200, seed=1).seconds < BUDGET


class SlowBodyFoundError(Exception):
    """Ends a search."""


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_an_injected_slow_pattern_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def quadratic(text: str) -> str:
        assert not re.search(r"(?:[a-z]|[^a-z])+\x00", text[:3_000])
        return text

    measured = Search._try

    async def until_slow(search: Search, *attempt: Any) -> None:
        await measured(search, *attempt)
        if search.worst is not None and search.worst.seconds > BUDGET:
            raise SlowBodyFoundError  # the rest of the search would only take long

    monkeypatch.setattr(Search, "_try", until_slow)
    monkeypatch.setattr(bodies, "redact_patterns", quadratic)
    # The search depends on measurements: one success of several is enough.
    with pytest.raises(SlowBodyFoundError):
        deque((find_slow(100, seed) for seed in range(10)), maxlen=0)


def test_guided_fuzzing_without_atheris_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "find_spec", lambda _name: None)
    monkeypatch.setattr("sys.argv", ["guided", "--bodies", "1"])
    with pytest.raises(SystemExit, match="pip install atheris"):
        guided.main()
