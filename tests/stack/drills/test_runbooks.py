"""Runbooks are followed with the labels of their alert."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from checks.promql import labels_of
from stack.drills import checks, runbooks
from stack.drills.observer import Observer

CASES = json.loads(Path(__file__).with_name("runbook_queries.json").read_text())
"""Shared with the viewer's own tests."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["query"])
def test_equality_matchers_get_the_values_of_the_alert(case: dict[str, Any]) -> None:
    assert runbooks.fill_in(case["query"], case["labels"]) == case["filled"]


def test_the_queries_of_a_runbook_are_its_steps(tmp_path: Path) -> None:
    (tmp_path / "DiskFull.md").write_text(
        "# DiskFull\n\n1. Which?\n\n```promql\nup\n  == 0\n```\n\n2. Since when?\n\n"
        "```promql\nup\n```\n\nNo result: it was never up.\n\n```sh\nls\n```\n"
    )
    assert runbooks.steps("DiskFull", tmp_path) == [
        runbooks.Step("up\n  == 0"),
        runbooks.Step("up", "No result: it was never up."),
    ]


@pytest.mark.parametrize("file", sorted(runbooks.FOLDER.glob("*.md")), ids=lambda file: file.stem)
def test_filled_in_queries_are_valid(file: Path) -> None:
    labels = {"job": 'my "odd" \\ api', "instance": "a:1", "http_route": "/a+b&c"}
    for step in runbooks.steps(file.stem):
        filled = runbooks.fill_in(step.query, labels)
        labels_of(filled)
        assert 'job="api"' not in filled


def test_a_query_without_an_answer_fails_the_drill_unless_the_runbook_says_what_it_means() -> None:
    asked: list[str] = []

    async def results(query: str) -> int:
        asked.append(query)
        return int("up" in query)

    observer = cast("Observer", SimpleNamespace(results=results))
    answered = runbooks.Step('up{job="api"}')
    explained = runbooks.Step("gone", "No result: never there.")

    def follow(*steps: runbooks.Step) -> str:
        return asyncio.run(checks.check_runbook(steps, {"job": "shop"}, observer, 0))

    assert follow(answered, explained) == (
        "1 of 2 queries of the runbook have an answer, it says what the others mean"
    )
    assert asked[0] == 'up{job="shop"}'
    with pytest.raises(checks.CheckError, match=r'without an answer: gone\{job="shop"\}'):
        follow(answered, runbooks.Step('gone{job="api"}'))
