"""The stack's own programs: modules of this project, run by one user, and their options."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import readiness
from stack.installation.paths import CHECKOUT, Installation
from stack.process.process import Program
from vitals import secure_files


def python_program(
    here: Installation, name: str, arguments: Sequence[str], env: Mapping[str, str] | None = None
) -> Program:
    """A module of this project as a program; its arguments begin with its name."""
    return Program(
        name,
        [sys.executable, "-m", *arguments],
        user=here.python_user,
        env={"PYTHONUNBUFFERED": "1", **(env or {})},
        cwd=CHECKOUT,
    )


def python_owner(here: Installation) -> secure_files.Owner | None:
    """The owner of what these programs write; None for this user."""
    return here.python_user.ids if here.python_user else None


def python_folder(here: Installation, name: str) -> Path:
    """The folder of data of one of the stack's Python programs, owned by their user."""
    folder, owner = here.data / name, python_owner(here)
    secure_files.make_directory(folder, owner=owner)
    if owner:  # what another user of an earlier start has written
        secure_files.chown_tree(folder, owner)
    return folder


def store_url(here: Installation) -> str:
    """The address of the store of traces and logs."""
    return f"http://{readiness.LOOPBACK}:{here.ports.store}"


def page_origins(here: Installation) -> tuple[str, ...]:
    """Options that let the viewer's pages send requests; Prometheus serves them."""
    names = (readiness.LOOPBACK, "localhost")
    origins = [f"http://{name}:{here.ports.prometheus}" for name in names]
    if here.public:
        origins.append(here.public.origin)
    return tuple(word for origin in origins for word in flag("page-origin", origin))


def flag(name: str, value: str) -> tuple[str, str]:
    """An option of a command line."""
    return f"--{name}", value
