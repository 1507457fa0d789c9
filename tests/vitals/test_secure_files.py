"""Files in folders of lesser accounts: nothing is written, given away or read through a link."""

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
    """A file of ours that must stay as it is."""
    path = tmp_path / "ours"
    path.write_text("ours\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder that a lesser account owns, when we are root."""
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
def test_what_lies_in_the_place_is_replaced_and_not_followed(
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
def test_only_a_file_of_its_own_is_opened(
    ours: Path, theirs: Path, plant: Callable[[Path, Path], None]
) -> None:
    place = theirs / "made"
    plant(ours, place)
    with pytest.raises(OSError, match="made"):
        secure_files.read(place)
    with pytest.raises(OSError, match="made"):
        secure_files.open_file(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert _untouched(ours)


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        secure_files.write(tmp_path / "folder", "new")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        secure_files.write(tmp_path / "nowhere" / "made", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"made", "folder"}


def test_a_folder_in_whose_place_a_link_lies_is_refused(ours: Path, theirs: Path) -> None:
    _link(ours.parent, theirs / "folder")
    before = ours.parent.stat().st_mode
    with pytest.raises(secure_files.UnsafePathError, match="folder is no folder of its own"):
        secure_files.make_folder(
            theirs / "folder", mode=0o777, owner=(NOBODY.pw_uid, NOBODY.pw_gid)
        )
    assert ours.parent.stat().st_mode == before


@root_only
def test_a_link_on_the_way_is_followed_only_if_no_lesser_account_can_change_it(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    _link(ours.parent, theirs / "way")
    with pytest.raises(secure_files.UnsafePathError, match="way is a link that another account"):
        secure_files.write(theirs / "way" / "made", "new")
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.make_path(theirs / "way" / "deeper")
    assert {path.name for path in tmp_path.iterdir()} == {"ours"}

    _link(theirs, tmp_path / "way")  # it is ours, and so is the folder that it lies in
    secure_files.write(tmp_path / "way" / "made", "new")
    assert (theirs / "made").read_text() == "new"


@root_only
def test_a_link_in_a_shared_folder_is_followed_only_if_it_is_ours(tmp_path: Path) -> None:
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
    shared.chmod(0o777)  # without the sticky bit everyone can replace our link, too
    with pytest.raises(secure_files.UnsafePathError):
        secure_files.write(shared / "ours" / "made", "")


def test_links_in_a_ring_end(tmp_path: Path) -> None:
    _link(tmp_path / "two", tmp_path / "one")
    _link(tmp_path / "one", tmp_path / "two")
    with pytest.raises(OSError, match="one"):
        secure_files.make_path(tmp_path / "one" / "made")


def test_relative_links_and_dots_lead_where_they_say(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    _link(Path("..", "a", ".", "b"), tmp_path / "a" / "link")
    secure_files.write(tmp_path / "a" / "b" / ".." / "link" / "made", "new")
    assert (tmp_path / "a" / "b" / "made").read_text() == "new"


@root_only
def test_a_tree_is_given_away_but_for_what_may_be_somebody_elses(
    ours: Path, theirs: Path, tmp_path: Path
) -> None:
    (theirs / "below").mkdir()
    (theirs / "below" / "file").write_text("")
    _hard_link(ours, theirs / "below" / "hard")
    _link(ours, theirs / "below" / "link")
    (tmp_path / "folder").mkdir()
    _link(tmp_path / "folder", theirs / "linked")
    secure_files.give(theirs, (NOBODY.pw_uid, NOBODY.pw_gid))
    assert (theirs / "below" / "file").owner() == (theirs / "below").owner() == "nobody"
    assert _untouched(ours)
    assert (tmp_path / "folder").owner() == "root"


@root_only
def test_only_what_belonged_to_the_former_account_is_given_away(theirs: Path) -> None:
    for name in ("former", "roots"):
        (theirs / name).write_text("")
    _give_away(theirs / "former")
    secure_files.give(theirs, (1, 1), of=NOBODY.pw_uid)
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
def test_folders_swapped_during_the_write_lead_nowhere(ours: Path, theirs: Path) -> None:
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
                    secure_files.make_folder(theirs / "place" / "more", owner=(1, 1))
                    secure_files.remove_tree(theirs / "place" / "more")
                except OSError:
                    refused += 1
        finally:
            attacker.kill()
    assert _untouched(ours)
    assert [path.name for path in ours.parent.iterdir()] == ["ours"]


def test_a_copied_tree_is_for_everyone_to_read(tmp_path: Path) -> None:
    (tmp_path / "from" / "below").mkdir(parents=True, mode=0o700)
    (tmp_path / "from" / "below" / "file").write_bytes(b"\xff")
    secure_files.copy_tree(tmp_path / "from", tmp_path / "to")
    secure_files.copy_tree(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "below" / "file").read_bytes() == b"\xff"
    assert stat.S_IMODE((tmp_path / "to" / "below").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "to" / "below" / "file").stat().st_mode) == 0o644


def test_folders_on_the_way_are_for_everyone_to_enter_whatever_our_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        secure_files.make_path(tmp_path / "one" / "two")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o755


def test_what_is_to_be_removed_may_be_gone_or_a_link(ours: Path, theirs: Path) -> None:
    secure_files.remove(theirs / "gone")
    secure_files.remove_tree(theirs / "gone")
    secure_files.remove_tree(theirs / "gone" / "too")
    for remove in (secure_files.remove, secure_files.remove_tree):
        _link(ours.parent, theirs / "link")
        remove(theirs / "link")
        assert not (theirs / "link").is_symlink()
    assert _untouched(ours)
