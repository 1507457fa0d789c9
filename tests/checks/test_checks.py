"""The checks of the project name what is missing, where, and what to do."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

from alerts.rule_files import every_alert
from checks import completeness, links, named_paths, words
from checks.files import ROOT
from checks.slices import SlicesContract
from dashboards.boards.registry import BOARDS
from service.db import new_migration
from stack.drills.faults import FAULTS


@pytest.fixture
def before() -> set[str]:
    """What is missing before a test's change: nothing, when `make check` passes."""
    return {*completeness.check()}


def added(before: set[str]) -> list[str]:
    """What is missing since then."""
    return [line for line in completeness.check() if line not in before]


def test_nothing_is_missing(before: set[str]) -> None:
    assert not before


def test_an_alert_alone_lacks_all_that_goes_with_it(
    before: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(every_alert()[0], name="DiskFull")
    monkeypatch.setattr(completeness, "every_alert", lambda *_: (*every_alert(), alone))
    assert added(before) == [
        "alerts/runbooks/DiskFull.md: write the runbook of DiskFull (copy the headings)",
        "tests/alerts/*.yml: add a promtool case of DiskFull that expects it page",
        "tests/alerts/*.yml: add a promtool case of DiskFull that expects it quiet",
        "stack/drills/: declare a fault that brings DiskFull, in FAULTS of a module",
    ]


def test_a_fault_lacks_its_drill(before: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**FAULTS, "NPlusOne/again": FAULTS["NPlusOne"]}
    monkeypatch.setattr(completeness, "FAULTS", more)
    assert added(before) == [
        "docs/alerts.md: run `make demo`, and beside it `make drill ALERT=NPlusOne/again`"
    ]


def test_a_board_with_another_panel_lacks_its_picture(
    before: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = replace(BOARDS[0], uid="svc-new")
    monkeypatch.setattr(completeness, "BOARDS", (board,))
    assert added(before) == [
        "tests/browser/pictures/svc-new.png: run `make pictures`, and look at it"
    ]


def test_a_new_slice_lacks_its_router_its_layer_and_its_migration(
    before: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("service", "docs", "tests", "alerts", "dashboards", "vitals", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "service").unlink()
    shutil.copytree(ROOT / "service", tmp_path / "service")
    parcels = tmp_path / "service" / "parcels"
    parcels.mkdir()
    (parcels / "__init__.py").touch()
    (parcels / "endpoints.py").write_text('router = APIRouter(tags=["parcels"])')
    (parcels / "cache.py").write_text('entries = cache.namespace("parcel", schema=Parcel)')
    monkeypatch.setattr(completeness, "ROOT", tmp_path)
    monkeypatch.setattr(new_migration, "is_needed", lambda: True)
    *others, last = added(before)
    assert others == [
        "service/main.py: include the router of service.parcels",
        "service/openapi.py: describe the tag parcels in METADATA, sorted by name",
        "service/migrations/versions/: run `make migration NAME=<what_it_does>`, and read it",
        "docs/caching.md: add a row that says what parcel holds and what drops it",
    ]
    assert last.startswith("pyproject.toml: add parcels to a layer of 'The service: ")


def test_an_operation_lacks_its_document_and_the_description_of_its_tag() -> None:
    api = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert list(completeness._api((ROOT / "docs" / "openapi.json").read_text())) == []
    api["paths"]["/api/parcels"] = {"get": {"tags": ["parcels"]}}
    api["components"]["schemas"]["Parcel"] = {"properties": {"weight": {"type": "integer"}}}
    assert list(completeness._api(json.dumps(api))) == [
        "docs/openapi.json: run `make render`",
        "service/openapi.py: describe the tag parcels in METADATA, sorted by name",
        "service/: give Parcel.weight an example, by Field(examples=[...])",
    ]


def test_a_slice_is_private_without_being_listed() -> None:
    graph = grimp.ImportGraph()
    for module in ("service", "service.main", "service.reviews", "service.orders", "bench"):
        graph.add_module(module)
    for module in ("endpoints", "repository"):
        graph.add_module(f"service.reviews.{module}")
    graph.add_module("service.orders.reports")
    for importer in ("service.orders.reports", "service.main", "service.reviews.endpoints"):
        graph.add_import(importer=importer, imported="service.reviews.repository")
    options = {
        "container": "service",
        "private": ["repository", "endpoints"],
        "allowed_importers": ["service.main"],
    }
    contract = SlicesContract("slices", session_options={}, contract_options=options)
    checked = contract.check(graph, verbose=False)
    assert not checked.kept
    assert checked.metadata["found"] == [("service.orders.reports", "service.reviews.repository")]


def test_replaced_words_are_found_with_the_name_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text(
        "| name | means | source | not |\n|---|---|---|---|\n"
        "| objective (SLO) | a target | SRE | promise, vow |\n| inbox | shows | | |\n"
    )
    (tmp_path / "page.md").write_text("A target.\nPromises, and compromises.\n")
    monkeypatch.setattr(words, "ROOT", tmp_path)
    monkeypatch.setattr(words, "_files", lambda: [Path("page.md")])
    assert list(words.check()) == [
        "page.md:2: 'Promises': write 'objective (SLO)' (docs/glossary.md)"
    ]


def test_links_lead_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.md").write_text("# The `first` page\n[it](#the-first-page) [b](two.md#b)\n")
    (tmp_path / "two.md").write_text("## A\n[gone](gone.md), `[code](x.md)`, [a](#a) [c](one.md#c)")
    monkeypatch.setattr(links, "ROOT", tmp_path)
    monkeypatch.setattr(links, "tracked", lambda _: [Path("one.md"), Path("two.md")])
    assert list(links.check()) == [
        "one.md: the link two.md#b leads to no heading",
        "two.md: the link gone.md leads to no file",
        "two.md: the link one.md#c leads to no heading",
    ]


def test_paths_of_tables_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kit/meter.py", "kit/traces/page.tsx", "kit/logs/page.tsx", "setup.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "page.md").write_text(
        "| a metric | `kit/meter.py`, `gauge.py`, and a word in `setup.toml` |\n"
        "| a board | `kit/<area>.py`, `/metrics`, `make render` |\n| a table | `tables.py` |\n"
        "| pages | `kit/traces/`, `logs/`, `profiles/` |\n"
        "| what is gone | `kit/<area>.md` |\n`kit/prose.py`\n"
    )
    monkeypatch.setattr(named_paths, "ROOT", tmp_path)
    monkeypatch.setattr(named_paths, "PAGES", ["page.md"])
    assert list(named_paths.check()) == [
        "page.md:1: gauge.py does not exist: name what has its task now",
        "page.md:4: profiles/ does not exist: name what has its task now",
        "page.md:5: kit/<area>.md does not exist: name what has its task now",
    ]
