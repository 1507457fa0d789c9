"""Linters and generators of clients are pinned and installed once."""

import json
import shutil
from pathlib import Path

import pytest

from stack.install import client_tools, npm
from stack.install.packages import MissingPackagesError
from stack.install.stamp import once

MANIFEST = {"name": "tiny", "version": "1.0.0", "dependencies": {"part": "file:part"}}
LOCK = {
    "name": "tiny",
    "version": "1.0.0",
    "lockfileVersion": 3,
    "requires": True,
    "packages": {
        "": MANIFEST,
        "node_modules/part": {"resolved": "part", "link": True},
        "part": {"version": "1.0.0"},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Needs one package, which is there already."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "package.json").write_text('{"name": "part", "version": "1.0.0"}')
    (tmp_path / "package.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "package-lock.json").write_text(json.dumps(LOCK))
    return tmp_path


@pytest.mark.slow
def test_packages_are_fetched_when_missing_or_locked_anew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = folder / "package-lock.json"
    fetched = []
    for change in (
        lambda: None,
        lambda: None,
        lambda: lock.write_text(json.dumps(LOCK, indent=1)),
        lambda: shutil.rmtree(folder / "node_modules"),
    ):
        change()
        assert npm.fetch(folder, "a part") == folder / "node_modules" / ".bin"
        assert (folder / "node_modules" / "part" / "package.json").exists()
        fetched.append("fetching a part" in capsys.readouterr().out)
    assert fetched == [True, False, True, True]


def test_what_npm_complains_of_is_reported_and_tried_again(folder: Path) -> None:
    (folder / "package.json").write_text("{")
    for _ in range(2):
        with pytest.raises(MissingPackagesError, match=r"(?s)npm ci .* failed in .*package\.json"):
            npm.fetch(folder, "a part")


def test_without_node_it_says_which_is_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(MissingPackagesError, match=r"Node 20\.19 or newer .*not found"):
        npm.fetch(folder, "a part")


def test_what_failed_half_way_is_missing_still(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"

    def missing() -> bool:
        with once(stamp, "a") as answer:
            return answer

    with pytest.raises(OSError, match="disk"), once(stamp, "a"):
        raise OSError("disk")
    assert [missing(), missing()] == [True, False]


def test_every_package_is_pinned_by_version_and_content() -> None:
    wanted = json.loads((client_tools.FOLDER / "package.json").read_text())["devDependencies"]
    assert all(version[0].isdigit() for version in wanted.values())
    lock = json.loads((client_tools.FOLDER / "package-lock.json").read_text())["packages"]
    packages = {path: entry for path, entry in lock.items() if path}
    assert all("integrity" in entry for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    assert {path: lock[f"node_modules/{path}"]["version"] for path in wanted} == wanted
