"""Safe file operations in directories of unprivileged users: links are never followed."""

import os
import pwd
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vitals import secure_files

NOBODY = pwd.getpwnam("nobody")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has lesser accounts")


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    """A file of ours that must stay unchanged."""
    path = tmp_path / "ours"
    path.write_text("ours\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def user_directory() -> Iterator[Path]:
    """A directory that an unprivileged user owns, if the test runs as root."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        _chown_to_nobody(folder)
        yield folder


def _chown_to_nobody(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)


def _is_unchanged(path: Path) -> bool:
    found = path.lstat()
    return (
        path.read_text() == "ours\n"
        and found.st_uid == os.geteuid()
        and stat.S_IMODE(found.st_mode) == 0o640
    )


def _link(root_file: Path, place: Path) -> None:
    place.symlink_to(root_file)


def _hard_link(root_file: Path, place: Path) -> None:
    place.hardlink_to(root_file)


def _fifo(_: Path, place: Path) -> None:
    os.mkfifo(place)


def _folder(_: Path, place: Path) -> None:
    place.mkdir()


@pytest.mark.parametrize("plant", [_link, _hard_link, _fifo])
def test_an_existing_link_is_replaced_not_followed(
    root_file: Path, user_directory: Path, plant: Callable[[Path, Path], None]
) -> None:
    place = user_directory / "made"
    plant(root_file, place)
    secure_files.write(place, "new", mode=0o600, owner=(os.geteuid(), os.getegid()), durable=True)
    assert _is_unchanged(root_file)
    assert place.read_text() == "new"
    assert stat.S_ISREG(place.lstat().st_mode)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_an_existing_file_is_kept_if_it_is_not_to_be_replaced(tmp_path: Path) -> None:
    secure_files.write(tmp_path / "key", "first", replace=False)
    with pytest.raises(FileExistsError, match="key"):
        secure_files.write(tmp_path / "key", "second", replace=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"key": "first"}


@pytest.mark.parametrize("plant", [_link, _hard_link, _fifo, _folder])
def test_only_regular_files_with_one_link_are_opened(
    root_file: Path, user_directory: Path, plant: Callable[[Path, Path], None]
) -> None:
    place = user_directory / "made"
    plant(root_file, place)
    with pytest.raises(OSError, match="made"):
        secure_files.read(place)
    with pytest.raises(OSError, match="made"):
        secure_files.open_file(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert _is_unchanged(root_file)


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        secure_files.write(tmp_path / "folder", "new")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        secure_files.write(tmp_path / "nowhere" / "made", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"made", "folder"}


def test_a_link_instead_of_a_directory_raises(root_file: Path, user_directory: Path) -> None:
    _link(root_file.parent, user_directory / "folder")
    before = root_file.parent.stat().st_mode
    with pytest.raises(secure_files.UnsafePathError, match="folder is not a directory"):
        secure_files.make_directory(
            user_directory / "folder", mode=0o777, owner=(NOBODY.pw_uid, NOBODY.pw_gid)
        )
    assert root_file.parent.stat().st_mode == before


@root_only
def test_a_link_in_the_path_is_followed_only_if_unprivileged_users_cannot_change_it(
    root_file: Path, user_directory: Path, tmp_path: Path
) -> None:
    _link(root_file.parent, user_directory / "way")
    with pytest.raises(secure_files.UnsafePathError, match="way is a link that another user"):
        secure_files.write(user_directory / "way" / "made", "new")
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.make_directories(user_directory / "way" / "deeper")
    assert {path.name for path in tmp_path.iterdir()} == {"ours"}

    _link(user_directory, tmp_path / "way")  # it is ours, and so is its directory
    secure_files.write(tmp_path / "way" / "made", "new")
    assert (user_directory / "made").read_text() == "new"


@root_only
def test_a_link_in_a_shared_directory_is_followed_only_if_it_is_ours(tmp_path: Path) -> None:
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    target.mkdir()
    shared.chmod(0o1777)
    _link(target, shared / "theirs")
    _chown_to_nobody(shared / "theirs")
    _link(target, shared / "ours")
    secure_files.write(shared / "ours" / "made", "")
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.write(shared / "theirs" / "made", "")
    shared.chmod(0o777)  # without the sticky bit everyone can replace our link
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.write(shared / "ours" / "made", "")


def test_a_loop_of_links_raises(tmp_path: Path) -> None:
    _link(tmp_path / "two", tmp_path / "one")
    _link(tmp_path / "one", tmp_path / "two")
    with pytest.raises(OSError, match="one"):
        secure_files.make_directories(tmp_path / "one" / "made")


def test_relative_links_and_dots_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    _link(Path("..", "a", ".", "b"), tmp_path / "a" / "link")
    secure_files.write(tmp_path / "a" / "b" / ".." / "link" / "made", "new")
    assert (tmp_path / "a" / "b" / "made").read_text() == "new"


@root_only
def test_chown_tree_skips_files_with_several_links(
    root_file: Path, user_directory: Path, tmp_path: Path
) -> None:
    (user_directory / "below").mkdir()
    (user_directory / "below" / "file").write_text("")
    _hard_link(root_file, user_directory / "below" / "hard")
    _link(root_file, user_directory / "below" / "link")
    (tmp_path / "folder").mkdir()
    _link(tmp_path / "folder", user_directory / "linked")
    secure_files.chown_tree(user_directory, (NOBODY.pw_uid, NOBODY.pw_gid))
    assert (
        (user_directory / "below" / "file").owner()
        == (user_directory / "below").owner()
        == "nobody"
    )
    assert _is_unchanged(root_file)
    assert (tmp_path / "folder").owner() == "root"


@root_only
def test_chown_tree_can_be_limited_to_one_owner(user_directory: Path) -> None:
    for name in ("former", "roots"):
        (user_directory / name).write_text("")
    _chown_to_nobody(user_directory / "former")
    secure_files.chown_tree(user_directory, (1, 1), only_uid=NOBODY.pw_uid)
    assert (user_directory / "former").stat().st_uid == 1
    assert (user_directory / "roots").stat().st_uid == 0


_SWAP = """
import os, sys
place, target = sys.argv[1:]
print("swapping", flush=True)
while True:
    os.rename(place, place + ".real")
    os.symlink(target, place)
    os.unlink(place)
    os.rename(place + ".real", place)
"""


@pytest.mark.slow
@root_only
def test_directories_swapped_during_a_write_are_not_followed(
    root_file: Path, user_directory: Path
) -> None:
    (user_directory / "place").mkdir()
    _chown_to_nobody(user_directory / "place")
    drop = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    command = [
        *drop,
        "--",
        python,
        "-I",
        "-c",
        _SWAP,
        str(user_directory / "place"),
        str(root_file.parent),
    ]
    written = refused = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", text=True) as attacker:
        assert attacker.stdout
        assert attacker.stdout.readline() == "swapping\n"
        try:
            deadline = time.monotonic() + 60
            while written + refused < 3000 or not (written and refused):
                assert time.monotonic() < deadline
                try:
                    secure_files.write(user_directory / "place" / "ours", "new", owner=(1, 1))
                    written += 1
                    secure_files.make_directory(user_directory / "place" / "more", owner=(1, 1))
                    secure_files.remove_tree(user_directory / "place" / "more")
                except OSError:
                    refused += 1
        finally:
            attacker.kill()
    assert _is_unchanged(root_file)
    assert [path.name for path in root_file.parent.iterdir()] == ["ours"]


def test_a_copied_tree_is_world_readable(tmp_path: Path) -> None:
    (tmp_path / "from" / "below").mkdir(parents=True, mode=0o700)
    (tmp_path / "from" / "below" / "file").write_bytes(b"\xff")
    secure_files.copy_tree(tmp_path / "from", tmp_path / "to")
    secure_files.copy_tree(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "below" / "file").read_bytes() == b"\xff"
    assert stat.S_IMODE((tmp_path / "to" / "below").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "to" / "below" / "file").stat().st_mode) == 0o644


def test_parent_directories_are_world_accessible_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        secure_files.make_directories(tmp_path / "one" / "two")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o755


def test_remove_accepts_missing_files_and_links(root_file: Path, user_directory: Path) -> None:
    secure_files.remove(user_directory / "gone")
    secure_files.remove_tree(user_directory / "gone")
    secure_files.remove_tree(user_directory / "gone" / "too")
    for remove in (secure_files.remove, secure_files.remove_tree):
        _link(root_file.parent, user_directory / "link")
        remove(user_directory / "link")
        assert not (user_directory / "link").is_symlink()
    assert _is_unchanged(root_file)
