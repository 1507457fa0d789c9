"""Follows the runbook of an alert during its drill: every query must have an answer.

A query that may have none says what that means, in the paragraph below it: ``No result: ...``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.installation.paths import CHECKOUT

FOLDER = CHECKOUT / "alerts" / "runbooks"
_QUERY = re.compile(r"^```promql\n(.*?)\n^```\n*(No result: [^\n]+)?", re.MULTILINE | re.DOTALL)
_EQUALITY = re.compile(r'([a-zA-Z_]\w*)(\s*=\s*)"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Step:
    """A query of a runbook.

    Attributes:
        query: PromQL, with example values of the labels.
        no_result: What it means that it returns nothing; empty if it always returns something.
    """

    query: str
    no_result: str = ""


def steps(alert: str, folder: Path = FOLDER) -> list[Step]:
    """The queries of the runbook of an alert, in order."""
    text = (folder / f"{alert}.md").read_text("utf-8")
    return [Step(found[1].strip(), found[2] or "") for found in _QUERY.finditer(text)]


def fill_in(query: str, labels: Mapping[str, str]) -> str:
    """A query with an alert's labels: a matcher ``label="..."`` gets the alert's value.

    Matchers that are to stay are written otherwise: ``result=~"hit"``. The viewer does the same
    (`grafana/viewer/src/watch/runbook.ts`).
    """

    def replace(found: re.Match[str]) -> str:
        label, equals, _ = found.groups()
        return label + equals + _quoted(labels[label]) if label in labels else found[0]

    return _EQUALITY.sub(replace, query)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
