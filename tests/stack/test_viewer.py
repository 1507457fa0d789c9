"""When the viewer is built, from which sources, and the error if it cannot be."""

import json
import shutil
from pathlib import Path

import pytest

from stack import viewer
from stack.install import npm

MANIFEST = {
    "name": "tiny",
    "version": "1.0.0",
    "private": True,
    "dependencies": {"part": "file:part"},
    "scripts": {
        "build": "mkdir -p dist && cp main.ts dist/main.js",
        "check": "! grep wrong main.ts && echo checked >> node_modules/log",
    },
}
LOCK = {
    "name": "tiny",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": {"name": "tiny", "version": "1.0.0", "dependencies": {"part": "file:part"}},
        "node_modules/part": {"resolved": "part", "link": True},
        "part": {"version": "1.0.0"},
    },
}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny viewer that npm builds quickly, from one local package."""
    folder = tmp_path / "viewer"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "package.json").write_text('{"name": "part", "version": "1.0.0"}')
    (folder / "package.json").write_text(json.dumps(MANIFEST))
    (folder / "package-lock.json").write_text(json.dumps(LOCK))
    (folder / "main.ts").write_text("1")
    monkeypatch.setattr(viewer, "SOURCES", folder)
    monkeypatch.setattr(viewer, "BUILT", folder / "dist")
    return folder


def test_it_is_built_only_when_missing_or_stale(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    viewer.build()
    assert viewer.is_current()
    assert "fetching" in capsys.readouterr().out
    viewer.build()
    assert not capsys.readouterr().out
    (sources / "main.ts").write_text("2")
    viewer.build()
    assert (sources / "dist" / "main.js").read_text() == "2"
    assert "fetching" not in capsys.readouterr().out
    shutil.rmtree(sources / "dist")
    viewer.build()
    assert viewer.is_current()


def test_a_changed_lock_file_installs_packages_and_rebuilds(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    viewer.build()
    capsys.readouterr()
    (sources / "package-lock.json").write_text(json.dumps(LOCK, indent=1))
    viewer.build()
    output = capsys.readouterr().out
    assert "fetching" in output
    assert "building" in output


def test_a_failed_build_is_reported_and_retried(sources: Path) -> None:
    (sources / "main.ts").unlink()
    with pytest.raises(npm.NpmError, match=r"(?s)npm run build failed.*main\.ts"):
        viewer.build()
    assert not viewer.is_current()
    (sources / "main.ts").write_text("3")
    viewer.build()
    assert viewer.is_current()


def test_sources_are_checked_once_until_they_change(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [viewer.main(["check"]), viewer.main(["check"])] == [0, 0]
    assert (sources / "node_modules" / "log").read_text() == "checked\n"
    (sources / "main.ts").write_text("wrong")
    assert viewer.main(["check"]) == 1
    assert "npm run check failed" in capsys.readouterr().out
    assert viewer.main(["check"]) == 1


def test_without_node_the_error_is_printed_and_shown_on_the_page(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(sources))
    site = sources.with_name("site")
    command = ["publish", "--site", str(site), "--address", "http://here/"]
    assert viewer.main(command) == 1
    assert "Node 20.19 or newer" in capsys.readouterr().out
    assert "Node 20.19 or newer" in (site / "index.html").read_text()


def test_without_node_the_check_is_skipped(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(sources))
    assert viewer.main(["check"]) == 0
    assert "not checked" in capsys.readouterr().out


def test_every_package_is_pinned_by_version_and_hash() -> None:
    manifest = json.loads((viewer.SOURCES / "package.json").read_text())
    required = manifest["dependencies"] | manifest["devDependencies"]
    assert all(version[0].isdigit() for version in required.values())
    lock = json.loads((viewer.SOURCES / "package-lock.json").read_text())["packages"]
    packages = {path: entry for path, entry in lock.items() if path}
    assert all("integrity" in entry for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    assert {path: lock[f"node_modules/{path}"]["version"] for path in required} == required
