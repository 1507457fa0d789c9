"""The fuzzer finds nothing, and would find what it looks for."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from bench.fuzz import guided, target
from bench.fuzz.__main__ import fuzz, look_for_slow
from bench.fuzz.slow import BUDGET
from bench.fuzz.target import BrokenPromiseError
from vitals.redaction import bodies
from vitals.redaction.bodies import Redaction
from vitals.validation import ijson, middleware


def test_bodies_of_all_kinds_are_answered_and_none_is_told() -> None:
    statuses, lines = fuzz(500)
    assert statuses.total() == 500
    assert {200, 400, 401, 404, 413, 415, 422} <= set(statuses)
    assert lines > 300, "bodies are told"


def tells(_self: Any, content: bytes, *_: Any) -> str:
    return content.decode(errors="replace")


def fails(*_: Any) -> Any:
    raise LookupError


async def hangs(*_: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("where", "broken", "said"),
    [
        ((Redaction, "body"), tells, "a secret was told"),
        ((ijson, "fault"), fails, "answers 500"),
        ((middleware._ValidatedRequest, "_receive_in_time"), hangs, "no answer"),
    ],
)
def test_what_is_broken_is_found(
    where: tuple[Any, str],
    broken: Callable[..., Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target, "PATIENCE", 0.5)
    monkeypatch.setattr(*where, broken)
    with pytest.raises(BrokenPromiseError, match=said):
        fuzz(100)


def test_no_body_is_found_that_takes_long() -> None:
    assert look_for_slow(200, seed=1).seconds < BUDGET


@pytest.mark.timeout(400)
def test_a_body_that_takes_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def quadratic(text: str) -> str:
        assert not re.search(r"(?:[a-z]|\d)+\x00", text[:6_000])
        return text

    monkeypatch.setattr(bodies, "redact_patterns", quadratic)
    # What is found depends on what was measured: one search of a few is enough.
    assert any(look_for_slow(100, seed=seed).seconds > BUDGET for seed in range(10))


def test_what_guided_fuzzing_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "find_spec", lambda _name: None)
    monkeypatch.setattr("sys.argv", ["guided", "--bodies", "1"])
    with pytest.raises(SystemExit, match="pip install atheris"):
        guided.main()
