"""Other versions of Prometheus are fetched from the mirror of apt, or the error says why not."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.install import debian_suites
from stack.install.packages import MissingPackagesError
from tests import servers


def test_each_suite_has_its_own_program_versions() -> None:
    versions = [
        subprocess.run(
            [folder / program, "--version"], check=True, capture_output=True, text=True
        ).stdout
        for folder in map(debian_suites.fetch, debian_suites.NEWER)
        for program in ("prometheus", "promtool", "alertmanager", "amtool")
    ]
    installed = subprocess.run(
        ["promtool", "--version"], check=True, capture_output=True, text=True
    ).stdout
    assert len({installed, *versions}) == 1 + len(versions)


def test_the_mirror_is_that_of_apt_unless_one_is_set() -> None:
    assert debian_suites.mirror({}).endswith("/debian")
    assert debian_suites.mirror({"DEBIAN_MIRROR": "http://mirror.example/debian"}).startswith(
        "http://mi"
    )


def test_the_mirror_is_known_before_any_package_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert debian_suites.mirror({}).endswith("/debian")


def test_the_error_without_a_mirror_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackagesError, match="set DEBIAN_MIRROR"):
        debian_suites.mirror({})


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation that has fetched nothing yet."""
    folder = servers.temporary_folder()
    monkeypatch.setenv("VITALS_DATA", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_failed_fetch_leaves_no_files(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    monkeypatch.setenv("DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    with pytest.raises(MissingPackagesError, match="Debian's sid cannot be fetched"):
        debian_suites.fetch("sid")
    assert [*(elsewhere / "suites").iterdir()] == []


def test_nothing_is_fetched_without_debians_keyring(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    monkeypatch.setattr(debian_suites, "_KEYRING", elsewhere / "none.gpg")
    with pytest.raises(MissingPackagesError, match="apt-get install debian-archive-keyring"):
        debian_suites.fetch("sid")
