"""Files in folders that other accounts may own: written without following links, and at once.

Root writes secrets and configurations into folders of lesser accounts. Opened by their paths, they
would lead wherever such an account points them meanwhile: a link to a file of root's, a second
name of one, a pipe that never opens. So a path is walked from `/`, each name is looked up in the
folder opened before it, and a link is followed only where no lesser account could have put it.
What is written appears complete under its name, with its owner and mode, or not at all.
"""

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENOTDIR
from pathlib import Path

Owner = tuple[int, int]
"""Numeric ids of a user and a group."""

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Enough to look names up in, also where we may not list them.
_STEP = _FOLDER | (os.O_PATH if sys.platform == "linux" else os.O_RDONLY)
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_LINKS = 40
_LARGEST = 1_000_000


class UnsafePathError(PermissionError):
    """A link, or anything else but a file or a folder of its own, is where one is expected."""


def write(
    path: Path,
    content: str | bytes,
    *,
    mode: int = 0o600,
    owner: Owner | None = None,
    durable: bool = False,
) -> None:
    """Write a file, or replace whatever has its name, in one step.

    Args:
        path: Its folder must exist.
        content: Text is written as UTF-8.
        mode: Its permissions, whatever our umask is.
        owner: Whom it belongs to; `None` for us.
        durable: Return only when it would survive a power failure.

    Raises:
        UnsafePathError: Its folder lies behind a link that another account can change.
        OSError: It cannot be written; the old file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    with _parent(path) as folder:
        draft = f".{path.name[:100]}.{secrets.token_hex(8)}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(data)
                opened.flush()
                if owner:
                    os.fchown(file, *owner)
                os.fchmod(file, mode)
                if durable:
                    os.fsync(file)
            os.rename(draft, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
            raise
        if durable:
            _sync(folder)


def read(path: Path) -> bytes:
    """Read a file of at most 1 MB.

    Raises:
        UnsafePathError: It is a link, has a second name, or is no file.
        OSError: It cannot be read.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read(_LARGEST)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file, never waiting for anything; returns its descriptor.

    Args:
        path: The file.
        flags: Those of `os.open`.
        mode: Its permissions if it is made, less our umask.

    Raises:
        UnsafePathError: It is a link, has a second name, or is no file.
        OSError: It cannot be opened.
    """
    with _parent(path) as folder:
        try:
            file = os.open(path.name, flags | _FILE, mode, dir_fd=folder)
        except OSError as error:
            if error.errno == ELOOP:
                raise UnsafePathError(f"{path} is a link: put the file itself there") from None
            raise
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise UnsafePathError(f"{path} is no file of its own: remove it")
    return file


def make_folder(path: Path, *, mode: int = 0o700, owner: Owner | None = None) -> None:
    """Make a folder, or give the one that is there this mode and owner; what lies in it stays.

    Raises:
        UnsafePathError: It is a link, or lies behind one that another account can change.
        OSError: It cannot be made, or is no folder.
    """
    with _parent(path, make=True) as parent:
        with suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
        try:
            folder = os.open(path.name, os.O_RDONLY | _FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno in {ELOOP, ENOTDIR}:
                raise UnsafePathError(f"{path} is no folder of its own: remove it") from None
            raise
        try:
            found = os.fstat(folder)
            wanted = owner or (os.geteuid(), os.getegid())
            if (found.st_uid, found.st_gid) != wanted and (owner or found.st_uid != wanted[0]):
                os.fchown(folder, *wanted)
            if stat.S_IMODE(found.st_mode) != mode:
                os.fchmod(folder, mode)
        finally:
            os.close(folder)


def make_path(path: Path) -> None:
    """Make a folder and those above it that are missing, for everyone to enter (0755).

    Raises:
        UnsafePathError: It lies behind a link that another account can change.
        OSError: It cannot be made.
    """
    os.close(_walk(path, make=True))


def copy_tree(source: Path, target: Path) -> None:
    """Copy the files of a folder we trust, for everyone to read (0755, 0644).

    Raises:
        OSError: Something cannot be read or written.
    """
    make_folder(target, mode=0o755)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            make_folder(copy, mode=0o755)
        else:
            write(copy, path.read_bytes(), mode=0o644)


def move(path: Path, target: Path, *, durable: bool = False) -> None:
    """Give a file or a folder another name, in place of what has that name, if anything has.

    Args:
        path: What is moved.
        target: Its new name.
        durable: Return only when that would survive a power failure.

    Raises:
        OSError: It cannot be moved there.
    """
    with _parent(path) as old, _parent(target) as new:
        os.rename(path.name, target.name, src_dir_fd=old, dst_dir_fd=new)
        if durable:
            _sync(new)


def remove(path: Path) -> None:
    """Remove a file or a link, if it is there.

    Raises:
        OSError: It cannot be removed.
    """
    with suppress(FileNotFoundError), _parent(path) as folder:
        os.unlink(path.name, dir_fd=folder)


def remove_tree(path: Path) -> None:
    """Remove a folder and all that lies in it, if it is there; a link in its place goes alone.

    Raises:
        OSError: Some of it cannot be removed.
    """
    with suppress(FileNotFoundError), _parent(path) as folder:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path.name, dir_fd=folder)
        else:
            os.unlink(path.name, dir_fd=folder)


def give(path: Path, owner: Owner, *, of: int | None = None) -> None:
    """Give a folder and the folders and files in it to an account; links stay as they are.

    Args:
        path: The folder.
        owner: Who receives them.
        of: Only what belongs to this user; else everything.

    Raises:
        OSError: We may not, or the folder is none.
    """
    top = _walk(path)
    try:
        for _, _, names, folder in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            _give_opened(folder, owner, of)
            for name in names:
                with suppress(OSError):  # gone, a link or a socket; what is ours to give opens
                    file = os.open(name, os.O_RDONLY | _FILE, dir_fd=folder)
                    try:
                        _give_opened(file, owner, of)
                    finally:
                        os.close(file)
    finally:
        os.close(top)


def _give_opened(opened: int, owner: Owner, of: int | None) -> None:
    found = os.fstat(opened)
    # A file with two names may be somebody else's, linked here.
    own = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
    if own and of in {None, found.st_uid}:
        os.fchown(opened, *owner)


@contextmanager
def _parent(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open the folder that a path lies in; errors in it name the path."""
    folder = _walk(path.absolute().parent, make=make)
    try:
        yield folder
    except UnsafePathError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(folder)


def _walk(path: Path, *, make: bool = False) -> int:
    """Open a folder name by name; returns a descriptor to look up names with."""
    waiting = list(reversed(path.absolute().parts[1:]))
    links = 0
    held = os.open("/", _STEP)
    try:
        while waiting:
            name = waiting.pop()
            try:
                step = _step(held, name, make=make)
            except OSError as error:
                if error.errno not in {ELOOP, ENOTDIR}:
                    raise OSError(error.errno, error.strerror, str(path)) from None
                links += 1
                target = _followed(held, name, path, links)
                waiting.extend(reversed([part for part in target.parts if part != "/"]))
                if not target.is_absolute():
                    continue
                step = os.open("/", _STEP)
            os.close(held)
            held = step
    except BaseException:
        os.close(held)
        raise
    return held


def _step(held: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _STEP, dir_fd=held)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, 0o755, dir_fd=held)
    except FileExistsError:
        return os.open(name, _STEP, dir_fd=held)
    made = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=held)
    os.fchmod(made, 0o755)  # whatever our umask is
    return made


def _followed(held: int, name: str, path: Path, links: int) -> Path:
    """Where a link leads that we, root or nobody else can have put there."""
    folder = os.fstat(held)
    link = os.stat(name, dir_fd=held, follow_symlinks=False)
    if not stat.S_ISLNK(link.st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(path))
    if links > _MOST_LINKS:
        raise OSError(ELOOP, os.strerror(ELOOP), str(path))
    trusted = {0, os.geteuid()}
    # Users often have a group of their own; root shares with no group.
    others = stat.S_IWOTH | (stat.S_IWGRP if os.geteuid() == 0 else 0)
    shared = folder.st_mode & others and not (
        folder.st_mode & stat.S_ISVTX and link.st_uid in trusted
    )
    if folder.st_uid not in trusted or shared:
        raise UnsafePathError(
            f"{path}: {name} is a link that another account can change; name the place it leads to"
        )
    return Path(os.readlink(name, dir_fd=held))


def _sync(folder: int) -> None:
    opened = os.open(".", os.O_RDONLY | _FOLDER, dir_fd=folder)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
