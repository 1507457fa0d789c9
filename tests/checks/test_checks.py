"""The checks of the project name what is missing, where, and what to do."""

from dataclasses import replace
from pathlib import Path

import pytest

from alerts.rule_files import every_alert
from checks import completeness, links, words


def test_nothing_is_missing() -> None:
    assert list(completeness.check()) == []


def test_an_alert_alone_lacks_all_that_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = replace(every_alert()[0], name="DiskFull")
    monkeypatch.setattr(completeness, "every_alert", lambda: (alone,))
    found = "\n".join(completeness.check())
    assert "alerts/runbooks/DiskFull.md: " in found
    assert "docs/alerts.md: add a row for DiskFull" in found
    assert "tests/alerts/: add a promtool case" in found
    assert "stack/drills/: declare a fault that brings DiskFull" in found


def test_replaced_words_are_found_with_the_name_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "glossary.md").write_text(
        "| name | means | source | not |\n|---|---|---|---|\n"
        "| objective (SLO) | a target | SRE | promise, vow |\n| inbox | shows | | |\n"
    )
    (tmp_path / "page.md").write_text("A target.\nA Promise, and compromises.\n")
    monkeypatch.setattr(words, "ROOT", tmp_path)
    monkeypatch.setattr(words, "_files", lambda: [Path("page.md")])
    assert list(words.check()) == [
        "page.md:2: 'Promise': write 'objective (SLO)' (docs/glossary.md)"
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
