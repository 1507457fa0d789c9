"""Safe file operations as root in directories that unprivileged users may own.

Root writes secrets and configuration into directories of unprivileged users. Opened by path, a file
would be wherever such a user redirects it meanwhile: a symbolic link to a file of root's, a hard
link, a FIFO that blocks. Paths are therefore walked from `/` with `openat`, and a link is followed
only where no unprivileged user could have created it. Files are written atomically, with their
owner and mode: they appear complete, or not at all. Libraries for atomic writes open by path.
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

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Sufficient to look up names, even without permission to list them.
_LOOKUP = _DIRECTORY | (os.O_PATH if sys.platform == "linux" else os.O_RDONLY)
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_LINKS = 40
_MAX_READ_BYTES = 1_000_000


class UnsafePathError(PermissionError):
    """A link or special file is where a regular file or directory is expected."""


def write(
    path: Path,
    content: str | bytes,
    *,
    mode: int = 0o600,
    owner: Owner | None = None,
    durable: bool = False,
    replace: bool = True,
) -> None:
    """Write or replace a file atomically.

    Args:
        path: The file; its directory must exist.
        content: Text is written as UTF-8.
        mode: Its permissions, regardless of the umask.
        owner: Its owner; `None` for the current user.
        durable: Whether to fsync the file and its directory.
        replace: Whether to replace an existing file.

    Raises:
        FileExistsError: It exists and is not to be replaced.
        UnsafePathError: Its directory is behind a link that another user can change.
        OSError: It cannot be written; the old file is unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    with _parent(path) as directory:
        temporary = f".{path.name[:100]}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE
        file = os.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(data)
                opened.flush()
                if owner:
                    os.fchown(file, *owner)
                os.fchmod(file, mode)
                if durable:
                    os.fsync(file)
            if replace:
                os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                os.link(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            with suppress(OSError):  # renamed, usually
                os.unlink(temporary, dir_fd=directory)
        if durable:
            _sync(directory)


def read(path: Path) -> bytes:
    """Read a file of at most 1 MB.

    Raises:
        UnsafePathError: It is a link, has several links, or is not a regular file.
        OSError: It cannot be read.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read(_MAX_READ_BYTES)


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file without ever blocking; returns its descriptor.

    Args:
        path: The file.
        flags: Those of `os.open`.
        mode: Its permissions if it is created, less the umask.

    Raises:
        UnsafePathError: It is a link, has several links, or is not a regular file.
        OSError: It cannot be opened.
    """
    with _parent(path) as directory:
        try:
            file = os.open(path.name, flags | _FILE, mode, dir_fd=directory)
        except OSError as error:
            if error.errno == ELOOP:
                raise UnsafePathError(f"{path} is a link: replace it with the file") from None
            raise
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise UnsafePathError(f"{path} is not a regular file with one link: remove it")
    return file


def make_directory(path: Path, *, mode: int = 0o700, owner: Owner | None = None) -> None:
    """Create a directory, or set the mode and owner of an existing one; its content stays.

    Raises:
        UnsafePathError: It is a link, or behind one that another user can change.
        OSError: It cannot be created, or is not a directory.
    """
    with _parent(path, make=True) as parent:
        with suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
        try:
            directory = os.open(path.name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno in {ELOOP, ENOTDIR}:
                raise UnsafePathError(f"{path} is not a directory: remove it") from None
            raise
        try:
            status = os.fstat(directory)
            expected = owner or (os.geteuid(), os.getegid())
            differs = (status.st_uid, status.st_gid) != expected
            if differs and (owner or status.st_uid != expected[0]):
                os.fchown(directory, *expected)
            if stat.S_IMODE(status.st_mode) != mode:
                os.fchmod(directory, mode)
        finally:
            os.close(directory)


def make_directories(path: Path) -> None:
    """Create a directory and its missing parents, world-accessible (0755).

    Raises:
        UnsafePathError: It is behind a link that another user can change.
        OSError: It cannot be created.
    """
    os.close(_walk(path, make=True))


def copy_tree(source: Path, target: Path) -> None:
    """Copy a trusted directory, world-readable (0755, 0644).

    Raises:
        OSError: Something cannot be read or written.
    """
    make_directory(target, mode=0o755)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            make_directory(copy, mode=0o755)
        else:
            write(copy, path.read_bytes(), mode=0o644)


def move(path: Path, target: Path, *, durable: bool = False) -> None:
    """Rename a file or directory, replacing the target if it exists.

    Args:
        path: The file or directory.
        target: Its new path.
        durable: Whether to fsync the target's directory.

    Raises:
        OSError: It cannot be moved there.
    """
    with _parent(path) as old, _parent(target) as new:
        os.rename(path.name, target.name, src_dir_fd=old, dst_dir_fd=new)
        if durable:
            _sync(new)


def remove(path: Path) -> None:
    """Remove a file or a link, if it exists.

    Raises:
        OSError: It cannot be removed.
    """
    with suppress(FileNotFoundError), _parent(path) as directory:
        os.unlink(path.name, dir_fd=directory)


def remove_tree(path: Path) -> None:
    """Remove a directory tree, if it exists; of a link, only the link.

    Raises:
        OSError: Some of it cannot be removed.
    """
    with suppress(FileNotFoundError), _parent(path) as directory:
        status = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path.name, dir_fd=directory)
        else:
            os.unlink(path.name, dir_fd=directory)


def chown_tree(path: Path, owner: Owner, *, only_uid: int | None = None) -> None:
    """Change the owner of a directory tree; links are skipped.

    Args:
        path: The directory.
        owner: The new owner.
        only_uid: Only files that belong to this user; `None` for all.

    Raises:
        OSError: Not permitted, or not a directory.
    """
    top = _walk(path)
    try:
        for _, _, names, directory in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            _chown_opened(directory, owner, only_uid)
            for name in names:
                with suppress(OSError):  # deleted, a link or a socket
                    file = os.open(name, os.O_RDONLY | _FILE, dir_fd=directory)
                    try:
                        _chown_opened(file, owner, only_uid)
                    finally:
                        os.close(file)
    finally:
        os.close(top)


def _chown_opened(opened: int, owner: Owner, only_uid: int | None) -> None:
    status = os.fstat(opened)
    # A file with several links may be another user's, linked here.
    single_link = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    if (stat.S_ISDIR(status.st_mode) or single_link) and only_uid in {None, status.st_uid}:
        os.fchown(opened, *owner)


@contextmanager
def _parent(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open the parent directory of a path; errors name the path."""
    directory = _walk(path.absolute().parent, make=make)
    try:
        yield directory
    except UnsafePathError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(directory)


def _walk(path: Path, *, make: bool = False) -> int:
    """Open a directory component by component; returns a descriptor for lookups."""
    remaining = list(reversed(path.absolute().parts[1:]))
    links = 0
    current = os.open("/", _LOOKUP)
    try:
        while remaining:
            name = remaining.pop()
            try:
                following = _step(current, name, make=make)
            except OSError as error:
                if error.errno not in {ELOOP, ENOTDIR}:
                    raise OSError(error.errno, error.strerror, str(path)) from None
                links += 1
                target = _resolve_link(current, name, path, links)
                remaining.extend(reversed([part for part in target.parts if part != "/"]))
                if not target.is_absolute():
                    continue
                following = os.open("/", _LOOKUP)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def _step(current: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _LOOKUP, dir_fd=current)
    except FileNotFoundError:
        if not make:
            raise
    try:
        os.mkdir(name, 0o755, dir_fd=current)
    except FileExistsError:
        return os.open(name, _LOOKUP, dir_fd=current)
    created = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=current)
    os.fchmod(created, 0o755)  # regardless of the umask
    return created


def _resolve_link(current: int, name: str, path: Path, links: int) -> Path:
    """The target of a link that only root or the current user can have created."""
    directory = os.fstat(current)
    link = os.stat(name, dir_fd=current, follow_symlinks=False)
    if not stat.S_ISLNK(link.st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(path))
    if links > _MAX_LINKS:
        raise OSError(ELOOP, os.strerror(ELOOP), str(path))
    trusted = {0, os.geteuid()}
    # Users often have a private group; root trusts no group.
    others = stat.S_IWOTH | (stat.S_IWGRP if os.geteuid() == 0 else 0)
    shared = directory.st_mode & others and not (
        directory.st_mode & stat.S_ISVTX and link.st_uid in trusted
    )
    if directory.st_uid not in trusted or shared:
        raise UnsafePathError(
            f"{path}: {name} is a link that another user can change; use the path of its target"
        )
    return Path(os.readlink(name, dir_fd=current))


def _sync(directory: int) -> None:
    opened = os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=directory)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
