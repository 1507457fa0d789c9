"""Secrets: generated once, readable by one user, weak ones refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.installation import secrets


def test_secrets_are_generated_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    secrets.make(folder, None)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == set(secrets.NAMES)
    assert len(set(made.values())) == len(made)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    secrets.make(folder, None)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_file_modes_are_tightened(tmp_path: Path) -> None:
    secrets.make(tmp_path, None)
    (tmp_path / "jwt-key").chmod(0o644)
    tmp_path.chmod(0o755)
    secrets.make(tmp_path, None)
    assert (tmp_path / "jwt-key").stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "weak", ["", "short", "changeme", "ChangeMe-12345678", "password_password", "admin" * 4]
)
def test_known_defaults_and_short_secrets_are_refused(tmp_path: Path, weak: str) -> None:
    (tmp_path / "redis-password").write_text(weak)
    with pytest.raises(secrets.WeakSecretError, match="redis-password") as refused:
        secrets.make(tmp_path, None)
    assert not weak or weak not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("text", ["it's-a-long-secret-with-quote", "two lines\nare-not-possible"])
def test_characters_that_need_quoting_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "redis-password").write_text(text)
    with pytest.raises(secrets.WeakSecretError, match="letters, digits"):
        secrets.make(tmp_path, None)


def _link(ours: Path, path: Path) -> None:
    path.symlink_to(ours)


def _hard_link(ours: Path, path: Path) -> None:
    path.hardlink_to(ours)


def _fifo(_: Path, path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [_link, _hard_link, _fifo])
def test_links_and_pipes_are_refused_and_their_targets_unchanged(
    tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    folder, ours = tmp_path / "secrets", tmp_path / "ours"
    secrets.make(folder, None)
    ours.write_text("a long text that could be a secret")
    ours.chmod(0o644)
    (folder / "demo-password").unlink()
    plant(ours, folder / "demo-password")
    with pytest.raises(PermissionError, match="demo-password"):
        secrets.make(folder, None)
    assert ours.stat().st_mode & 0o777 == 0o644


def test_a_file_of_another_mode_is_replaced(tmp_path: Path) -> None:
    secrets.make(tmp_path, None)
    path = tmp_path / "jwt-key"
    path.chmod(0o644)
    before, text = path.stat().st_ino, path.read_text()
    secrets.make(tmp_path, None)
    assert path.stat().st_ino != before
    assert path.read_text() == text
