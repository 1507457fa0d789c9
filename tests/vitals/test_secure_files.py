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
def ours(tmp_path: Path) -> Path:
    """A file of ours that must stay unchanged."""
    path = tmp_path / "ours"
    path.write_text("ours\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory that an unprivileged user owns, if the test runs as root."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        _give_away(folder)
        yield folder


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)


def _untouched(path: Path) -> bool:
    found = path.lstat()
    return (
        path.read_text() == "ours\n"
        and found.st_uid == os.geteuid()
        and stat.S_IMODE(found.st_mode) == 0o640
    )


def _link(ours: Path, place: Path) -> None:
    place.symlink_to(ours)


def _hard_link(ours: Path, place: Path) -> None:
    place.hardlink_to(ours)


def _fifo(_: Path, place: Path) -> None:
    os.mkfifo(place)


def _folder(_: Path, place: Path) -> None:
    place.mkdir()


@pytest.mark.parametrize("plant", [_link, _hard_link, _fifo])
def test_an_existing_link_is_replaced_not_followed(
    ours: Path, theirs: Path, plant: Callable[[Path, Path], None]
) -> None:
    place = theirs / "made"
    plant(ours, place)
    secure_files.write(place, "new", mode=0o600, owner=(os.geteuid(), os.getegid()), durable=True)
    assert _untouched(ours)
    assert place.read_text() == "new"
    assert stat.S_ISREG(place.lstat().st_mode)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


@pytest.mark.parametrize("plant", [_link, _hard_link, _fifo, _folder])
def test_only_regular_files_with_one_link_are_opened(
    ours: Path, theirs: Path, plant: Callable[[Path, Path], None]
) -> None:
    place = theirs / "made"
    plant(ours, place)
    with pytest.raises(OSError, match="made"):
        secure_files.read(place)
    with pytest.raises(OSError, match="made"):
        secure_files.open_file(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert _untouched(ours)


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        secure_files.write(tmp_path / "folder", "new")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        secure_files.write(tmp_path / "nowhere" / "made", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"made", "folder"}


def test_a_link_instead_of_a_directory_raises(ours: Path, theirs: Path) -> None:
    _link(ours.parent, theirs / "folder")
    before = ours.parent.stat().st_mode
    with pytest.raises(secure_files.UnsafePathError, match="folder is not a directory"):
        secure_files.make_directory(
            theirs / "folder", mode=0o777, owner=(NOBODY.pw_uid, NOBODY.pw_gid)
        )
    assert ours.parent.stat().st_mode == before


@root_only
def test_a_link_in_the_path_is_followed_only_if_unprivileged_users_cannot_change_it(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    _link(ours.parent, theirs / "way")
    with pytest.raises(secure_files.UnsafePathError, match="way is a link that another user"):
        secure_files.write(theirs / "way" / "made", "new")
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.make_directories(theirs / "way" / "deeper")
    assert {path.name for path in tmp_path.iterdir()} == {"ours"}

    _link(theirs, tmp_path / "way")  # it is ours, and so is its directory
    secure_files.write(tmp_path / "way" / "made", "new")
    assert (theirs / "made").read_text() == "new"


@root_only
def test_a_link_in_a_shared_directory_is_followed_only_if_it_is_ours(tmp_path: Path) -> None:
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    target.mkdir()
    shared.chmod(0o1777)
    _link(target, shared / "theirs")
    _give_away(shared / "theirs")
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
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    (theirs / "below").mkdir()
    (theirs / "below" / "file").write_text("")
    _hard_link(ours, theirs / "below" / "hard")
    _link(ours, theirs / "below" / "link")
    (tmp_path / "folder").mkdir()
    _link(tmp_path / "folder", theirs / "linked")
    secure_files.chown_tree(theirs, (NOBODY.pw_uid, NOBODY.pw_gid))
    assert (theirs / "below" / "file").owner() == (theirs / "below").owner() == "nobody"
    assert _untouched(ours)
    assert (tmp_path / "folder").owner() == "root"


@root_only
def test_chown_tree_can_be_limited_to_one_owner(theirs: Path) -> None:
    for name in ("former", "roots"):
        (theirs / name).write_text("")
    _give_away(theirs / "former")
    secure_files.chown_tree(theirs, (1, 1), only_uid=NOBODY.pw_uid)
    assert (theirs / "former").stat().st_uid == 1
    assert (theirs / "roots").stat().st_uid == 0


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


@root_only
def test_directories_swapped_during_a_write_are_not_followed(ours: Path, theirs: Path) -> None:
    (theirs / "place").mkdir()
    _give_away(theirs / "place")
    drop = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    command = [*drop, "--", python, "-I", "-c", _SWAP, str(theirs / "place"), str(ours.parent)]
    written = refused = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", text=True) as attacker:
        assert attacker.stdout
        assert attacker.stdout.readline() == "swapping\n"
        try:
            deadline = time.monotonic() + 60
            while written + refused < 3000 or not (written and refused):
                assert time.monotonic() < deadline
                try:
                    secure_files.write(theirs / "place" / "ours", "new", owner=(1, 1))
                    written += 1
                    secure_files.make_directory(theirs / "place" / "more", owner=(1, 1))
                    secure_files.remove_tree(theirs / "place" / "more")
                except OSError:
                    refused += 1
        finally:
            attacker.kill()
    assert _untouched(ours)
    assert [path.name for path in ours.parent.iterdir()] == ["ours"]


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


def test_remove_accepts_missing_files_and_links(ours: Path, theirs: Path) -> None:
    secure_files.remove(theirs / "gone")
    secure_files.remove_tree(theirs / "gone")
    secure_files.remove_tree(theirs / "gone" / "too")
    for remove in (secure_files.remove, secure_files.remove_tree):
        _link(ours.parent, theirs / "link")
        remove(theirs / "link")
        assert not (theirs / "link").is_symlink()
    assert _untouched(ours)
