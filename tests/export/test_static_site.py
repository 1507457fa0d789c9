"""The static site that Prometheus serves at /user/."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from export import static_site
from stack import viewer


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "main.js").write_text("1")
    (folder / "index.html").write_text('<base href="./" /><title>Boards</title>')
    return folder


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "boards"
    folder.mkdir()
    for uid, title in (("svc-db", "Database"), ("svc-overview", "Over & under")):
        (folder / f"{uid}.json").write_text(json.dumps({"uid": uid, "title": title, "panels": []}))
    return folder


@pytest.fixture
def runbooks(tmp_path: Path) -> Path:
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "DiskFull.md").write_text(
        "# DiskFull\n\n## Meaning\n\nThe disk\nis <full>.\n\nMore.\n"
    )
    return folder


def test_each_board_is_copied_unchanged_and_has_its_own_page(
    built: Path, boards: Path, runbooks: Path, tmp_path: Path
) -> None:
    served = tmp_path / "site"
    static_site.publish(built, boards, runbooks, served, {"traceUrl": "http://x/{trace}"})
    for file in boards.glob("*.json"):
        assert (served / "boards" / file.name).read_bytes() == file.read_bytes()
    page = (served / "d" / "svc-overview" / "index.html").read_text()
    assert page == '<base href="../../" /><title>Over &amp; under</title>'
    listed = json.loads((served / "boards" / "index.json").read_text())
    assert [board["uid"] for board in listed] == ["svc-overview", "svc-db"]
    assert json.loads((served / "settings.json").read_text()) == {"traceUrl": "http://x/{trace}"}


def test_each_page_has_a_file_whose_base_is_the_root_of_the_site(
    built: Path, boards: Path, runbooks: Path, tmp_path: Path
) -> None:
    served = tmp_path / "site"
    static_site.publish(built, boards, runbooks, served, {})
    assert (served / "alerts" / "index.html").read_text() == (
        '<base href="../" /><title>Active alerts</title>'
    )
    assert (served / "silences" / "new" / "index.html").read_text() == (
        '<base href="../../" /><title>New silence</title>'
    )
    runbook = served / "runbooks" / "DiskFull.md"
    assert (runbook / "source.md").read_bytes() == (runbooks / "DiskFull.md").read_bytes()
    assert (runbook / "index.html").read_text() == (
        '<base href="../../" /><title>Runbook of DiskFull</title>'
    )
    listed = json.loads((served / "runbooks" / "index.json").read_text())
    assert listed == [{"name": "DiskFull", "meaning": "The disk is <full>."}]


def test_every_page_of_the_viewer_is_published() -> None:
    urls = (viewer.SOURCES / "src" / "urls.ts").read_text()
    declared = re.search(r"PAGES = \{(.*?)\}", urls, re.DOTALL)
    assert declared
    pages = dict(re.findall(r"(\w+): '([^']+)'", declared[1]))
    below = {
        "silences/new": "New silence",
        "traces/example": "Example trace",
        "explore": "Traces and logs",
    }
    assert pages | below == static_site.PAGES


def test_publishing_replaces_the_whole_site(
    built: Path, boards: Path, runbooks: Path, tmp_path: Path
) -> None:
    served = tmp_path / "site"
    static_site.publish(built, boards, runbooks, served, {})
    (boards / "svc-db.json").unlink()
    static_site.publish(built, boards, runbooks, served, {})
    assert not (served / "d" / "svc-db").exists()
    assert not (served / "boards" / "svc-db.json").exists()


def test_files_are_readable_with_any_umask(
    built: Path, boards: Path, runbooks: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        static_site.publish(built, boards, runbooks, tmp_path / "site", {})
    finally:
        os.umask(before)
    for path in (tmp_path / "site").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_a_placeholder_is_shown_until_the_first_publication(
    built: Path, boards: Path, runbooks: Path, tmp_path: Path
) -> None:
    served = tmp_path / "site"
    static_site.publish_placeholder(served, "Being built", "a moment <please>", runbooks)
    for page in ("", "alerts", "silences/new"):
        assert "a moment &lt;please&gt;" in (served / page / "index.html").read_text()
    page = (served / "runbooks" / "DiskFull.md" / "index.html").read_text()
    assert "is &lt;full&gt;." in page
    static_site.publish(built, boards, runbooks, served, {})
    static_site.publish_placeholder(served, "Being built again", "")
    assert "Being built" not in (served / "index.html").read_text()
