"""What ``vitals doctor`` expects of Prometheus: written from the rendered rules and boards.

python -m checks.expectations    write vitals/doctor/expectations.json
"""

import json
from collections.abc import Iterator

import yaml

from checks.files import ROOT
from dashboards.rendered_queries import CHOICES, fill_in, panels
from vitals.doctor.expectations import FILE, JOB, Expectations, normalize

PATH = ROOT / "vitals" / "doctor" / FILE
PER_BOARD = 5
"""Queries of each board: the sample must be answered within seconds."""

_FILLED = {**CHOICES, "job": JOB, "route": ".*"}


def render() -> str:
    """The content of the file."""
    rules: dict[str, dict[str, list[str]]] = {}
    for path in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            of_group = rules.setdefault(group["name"], {})
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                of_group.setdefault(name, []).append(normalize(rule["expr"]))
    queries = {}
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        found = dict.fromkeys(
            fill_in(target["expr"], _FILLED)
            for panel in panels(board)
            for target in panel.get("targets", ())[:1]
            if target.get("expr")
        )
        queries[board["title"]] = [*found][:PER_BOARD]
    return Expectations(rules, queries).dump()


def check() -> Iterator[str]:
    """Yield a line if the file is out of date."""
    if not PATH.exists() or PATH.read_text() != render():
        yield f"{PATH.relative_to(ROOT)}: run `make render`"


if __name__ == "__main__":
    PATH.write_text(render())
    print(f"wrote {PATH}")  # noqa: T201
