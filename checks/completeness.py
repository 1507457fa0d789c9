"""What a change still needs: every declaration has the files that go with it.

Each line names the file to write and what to do, so that one run shows all that is missing.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from alerts.rule_files import every_alert
from checks.files import ROOT
from dashboards.__main__ import rendered
from dashboards.boards.registry import BOARDS
from rules.engine import Engine
from service.__main__ import document
from service.db import new_migration
from service.openapi import METADATA
from service.settings import Settings
from stack.drills import results_table
from stack.drills.faults import FAULTS, alert_of

TAGS = {tag["name"] for tag in METADATA["openapi_tags"]}


def check() -> Iterator[str]:
    """Yield a line for each thing that is missing."""
    yield from _alerts()
    yield from _boards()
    yield from _slices()
    yield from _caches()
    yield from _layers()
    yield from _api(document(Settings()))


def _alerts() -> Iterator[str]:
    cases = {*_expected_states()}
    drilled = results_table.rows(results_table.DOCUMENT.read_text())
    of_prometheus = {alert.name for alert in every_alert()}
    declared = (*every_alert(), *every_alert(Engine.VICTORIAMETRICS))
    for name in sorted({alert.name for alert in declared}):
        if not (ROOT / "alerts" / "runbooks" / f"{name}.md").exists():
            yield f"alerts/runbooks/{name}.md: write the runbook of {name} (copy the headings)"
        severities = {str(alert.severity) for alert in declared if alert.name == name}
        for state in sorted(
            severities | ({"quiet"} - severities if severities != {"none"} else set())
        ):
            if (name, state) not in cases:
                yield f"tests/alerts/*.yml: add a promtool case of {name} that expects it {state}"
        # The stack, where drills run, has a Prometheus.
        if name in of_prometheus - {alert_of(fault) for fault in FAULTS}:
            yield f"stack/drills/: declare a fault that brings {name}, in FAULTS of a module"
    for fault in FAULTS:
        if fault not in drilled:
            yield f"docs/alerts.md: run `make demo`, and beside it `make drill ALERT={fault}`"


def _expected_states() -> Iterator[tuple[str, str]]:
    """The states of alerts that the promtool cases expect: the severity, or quiet."""
    for path in sorted((ROOT / "tests" / "alerts").rglob("*.yml")):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for seen in case.get("alert_rule_test", ()):
                for alert in seen["exp_alerts"]:
                    yield seen["alertname"], alert["exp_labels"]["severity"]
                if not seen["exp_alerts"]:
                    yield seen["alertname"], "quiet"


def panels(board: Any) -> str:
    """The panels of a board, one a line: what its picture shows."""
    inner = (panel.get("panels") or [panel] for panel in board["panels"])
    return "".join(f"{each['type']}: {each['title']}\n" for row in inner for each in row)


def _boards() -> Iterator[str]:
    pictures = ROOT / "tests" / "browser" / "pictures"
    for board in BOARDS:
        listing = pictures / f"{board.uid}.txt"
        if not listing.exists() or listing.read_text() != panels(json.loads(rendered(board))):
            yield f"tests/browser/pictures/{board.uid}.png: run `make pictures`, and look at it"


def _slices() -> Iterator[str]:
    main = (ROOT / "service" / "main.py").read_text()
    for endpoints in sorted((ROOT / "service").glob("*/endpoints.py")):
        if f"service.{endpoints.parent.name}" not in main:
            yield f"service/main.py: include the router of service.{endpoints.parent.name}"
            for tag in re.findall(r'APIRouter\(tags=\["(\w+)"', endpoints.read_text()):
                if tag not in TAGS:
                    yield _undescribed(tag)
    if new_migration.is_needed():
        yield "service/migrations/versions/: run `make migration NAME=<what_it_does>`, and read it"


def _caches() -> Iterator[str]:
    page = (ROOT / "docs" / "caching.md").read_text()
    for path in sorted((ROOT / "service").glob("*/*.py")):
        for name in re.findall(r"cache\.namespace\(\s*\"(\w+)\"", path.read_text()):
            if f"| `{name}` |" not in page:
                yield f"docs/caching.md: add a row that says what {name} holds and what drops it"


def _layers() -> Iterator[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in settings["contracts"]:
        if contract.get("exhaustive"):
            listed = {name for layer in contract["layers"] for name in re.findall(r"\w+", layer)}
            for container in contract["containers"]:
                folder = ROOT.joinpath(*container.split("."))
                found = {path.stem for path in folder.glob("*.py")}
                found |= {path.parent.name for path in folder.glob("*/__init__.py")}
                for name in sorted(found - listed - {"__init__"}):
                    yield f"pyproject.toml: add {name} to a layer of {contract['name']!r}"


def _api(text: str) -> Iterator[str]:
    if (ROOT / "docs" / "openapi.json").read_text() != text:
        yield "docs/openapi.json: run `make render`"
    api = json.loads(text)
    described = {tag["name"] for tag in api["tags"]}
    operations = [operation for path in api["paths"].values() for operation in path.values()]
    for tag in sorted({tag for each in operations for tag in each["tags"]} - described):
        yield _undescribed(tag)
    for name, schema in api["components"]["schemas"].items():
        for field, of_field in schema.get("properties", {}).items():
            refers = "$ref" in of_field or "$ref" in of_field.get("items", {})  # to what has them
            if not (of_field.get("examples") or refers):
                yield f"service/: give {name}.{field} an example, by Field(examples=[...])"


def _undescribed(tag: str) -> str:
    return f"service/openapi.py: describe the tag {tag} in METADATA, sorted by name"
