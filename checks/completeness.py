"""What a change still needs: every declaration has the files that go with it.

Each line names the file to write and what to do, so that one run shows all that is missing.
"""

import re
from collections.abc import Iterator

from alerts.rule_files import every_alert
from checks.files import ROOT
from dashboards.boards.registry import BOARDS
from stack.drills.faults import FAULTS, alert_of
from stack.drills.results_table import BEGIN, END


def check() -> Iterator[str]:
    """Yield a line for each thing that is missing."""
    yield from _alerts()
    yield from _boards()
    yield from _slices()


def _alerts() -> Iterator[str]:
    page = (ROOT / "docs" / "alerts.md").read_text()
    table, drills = page.partition(BEGIN)[0], page.partition(BEGIN)[2].partition(END)[0]
    cases = "".join(path.read_text() for path in (ROOT / "tests" / "alerts").glob("*.yml"))
    faults = {alert_of(name) for name in FAULTS}
    for name in sorted({alert.name for alert in every_alert()}):
        if not (ROOT / "alerts" / "runbooks" / f"{name}.md").exists():
            yield f"alerts/runbooks/{name}.md: write the runbook of {name} (copy the headings)"
        if f"| `{name}` |" not in table:
            yield f"docs/alerts.md: add a row for {name} to the table of alerts"
        if not re.search(rf"alertname: {name}\b", cases):
            yield f"tests/alerts/: add a promtool case that sees {name} firing and quiet"
        if name not in faults:
            yield f"stack/drills/: declare a fault that brings {name}"
        elif not re.search(rf"^\| {name}( \(\w+\))? \|", drills, re.MULTILINE):
            yield f"docs/alerts.md: run `make demo`, and beside it `make drill ALERT={name}`"


def _boards() -> Iterator[str]:
    for board in BOARDS:
        uid = board.uid
        if not (ROOT / "grafana" / "dashboards" / f"{uid}.json").exists():
            yield f"grafana/dashboards/{uid}.json: run `make render`"
        if not any((ROOT / "tests" / "browser" / "pictures").glob(f"{uid}*")):
            yield f"tests/browser/pictures: run `make pictures` and look at {uid}"


def _slices() -> Iterator[str]:
    migrations = (ROOT / "service" / "migrations" / "env.py").read_text()
    contracts = (ROOT / "pyproject.toml").read_text()
    main = (ROOT / "service" / "main.py").read_text()
    for endpoints in sorted((ROOT / "service").glob("*/endpoints.py")):
        name = endpoints.parent.name
        if endpoints.with_name("tables.py").exists() and f"service.{name}.tables" not in migrations:
            yield f"service/migrations/env.py: import service.{name}.tables"
        if f'"service.{name}.endpoints"' not in contracts:
            yield f"pyproject.toml: protect service.{name}.repository and .endpoints by a contract"
        if f"service.{name}" not in main:
            yield f"service/main.py: include the router of service.{name}"
