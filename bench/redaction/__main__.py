"""True and false positives of redaction, of 400 bodies each, against Presidio and others.

``python -m bench.redaction``
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

from bench.interleave import report
from bench.redaction.benign import benign
from bench.redaction.planted import planted
from bench.virtualenvs import python
from vitals import Redaction
from vitals.asgi.content_type import BodyKind

PINS = ("presidio-analyzer==2.2.366", "scrubadub==2.0.1", "detect-secrets==1.5.0")
OURS = "ours"
FOUND, DESTROYED = 0.95, 0.02
"""Budgets: the minimum share of found secrets, the maximum share of redacted benign values."""
DOCS = Path(__file__).parents[2] / "docs" / "bodies.md"
BEGIN, END = "<!-- written by bench.redaction -->", "<!-- end of bench.redaction -->"


def redacted(body: str) -> str:
    """A body redacted by ours."""
    return Redaction().body(body.encode(), BodyKind.JSON) or ""


def ours() -> tuple[Counter[str], Counter[str]]:
    """Found secrets and redacted benign values, by kind."""
    found = Counter(each.kind for each in planted() if each.secret not in redacted(each.body))
    destroyed = Counter(
        each.kind
        for each in benign()
        if json.loads(redacted(each.body) or "null") != json.loads(each.body)
    )
    return found, destroyed


def theirs() -> dict[str, tuple[Counter[str], Counter[str]]]:
    """The same for the alternatives.

    A secret counts as found if half of it is, and a private key by its first line.

    Raises:
        RuntimeError: The alternatives cannot be installed.
    """
    samples = planted()
    negatives = benign()
    bodies = [each.body for each in samples] + [each.body for each in negatives]
    done = subprocess.run(  # noqa: S603
        [str(python(*PINS)), str(Path(__file__).with_name("alternatives.py"))],
        input=json.dumps(bodies),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    result = {}
    for name, finds in json.loads(done.stdout).items():
        found = Counter(
            each.kind
            for each, parts in zip(samples, finds, strict=False)
            if any(each.kind == "private key" or _covers(part, each.secret) for part in parts)
        )
        destroyed = Counter(
            each.kind for each, parts in zip(negatives, finds[len(samples) :], strict=True) if parts
        )
        result[name.replace("_", "-")] = (found, destroyed)
    return result


def _covers(part: str, secret: str) -> bool:
    return secret in part or (part in secret and 2 * len(part) >= len(secret))


def main() -> None:
    """Compare and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.redaction", description=__doc__)
    parser.add_argument("--alone", action="store_true", help="without the alternatives")
    parser.add_argument("--write", action="store_true", help="write the table into docs/bodies.md")
    options = parser.parse_args()
    tools = {OURS: ours()}
    if not options.alone:
        try:
            tools |= theirs()
        except RuntimeError as error:
            print(f"alternatives skipped: {error}")
    secrets = Counter(each.kind for each in planted())
    harmless = Counter(each.kind for each in benign())
    rows = [
        [f"{kind} ({number})", *(str(found[kind]) for found, _ in tools.values())]
        for kind, number in secrets.items()
    ]
    rows += [
        [
            f"**{words} of {total.total()}**",
            *(f"**{each.total() / total.total():.1%}**" for each in counts),
        ]
        for words, total, counts in (
            ("found", secrets, [found for found, _ in tools.values()]),
            ("falsely redacted", harmless, [destroyed for _, destroyed in tools.values()]),
        )
    ]
    found, destroyed = tools[OURS]
    within_budget = (
        found.total() >= FOUND * secrets.total()
        and destroyed.total() <= DESTROYED * harmless.total()
    )
    report(
        "Secrets found, benign values redacted",
        ["", *tools],
        rows,
        {
            "bench": "redaction",
            "found": {name: each.total() for name, (each, _) in tools.items()},
            "falsely": {name: dict(each) for name, (_, each) in tools.items()},
            "within_budget": within_budget,
        },
    )
    if options.write:
        _write(["", *tools], rows)
    raise SystemExit(not within_budget)


def _write(head: list[str], rows: list[list[str]]) -> None:
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
