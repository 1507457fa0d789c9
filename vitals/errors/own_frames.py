"""Own frames of a traceback: those of the application's code, by module and function.

Frames of the interpreter, of installed packages and of the kit are left out: how many there are
depends on versions, on middleware and on whether the code ran in a task, a thread or a greenlet.
Line numbers and paths are left out too. So the same error has the same frames in each release and
checkout.
"""

import os
import re
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

MAX_OWN_FRAMES = 6
"""Own frames that identify an error, the innermost ones."""
MAX_INSPECTED = 250
"""Frames that are inspected at most, the innermost ones: of endless recursion there are 1,000."""
_MAX_FALLBACK = 2
"""Frames of packages that identify an error without an own frame."""

_KIT = str(Path(__file__).parents[1]) + os.sep
_PATHS = sysconfig.get_paths()
_STANDARD = tuple({_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<"})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_FRAMEWORKS = frozenset(("fastapi", "starlette", "vitals", "uvicorn", "__main__"))
_ROUTERS = ("starlette.routing", "fastapi.routing", "fastapi.dependencies.utils")
"""Modules that call endpoints and dependencies. What is further out, such as middleware, serves
every route, so it identifies no error."""
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d{4,}|(?<![a-z])(?=[a-f]*\d)[0-9a-f]{8,}(?![a-z])")
"""Parts of generated names: addresses, times, ids."""
_COMPREHENSION = re.compile(r"(?:\.<locals>)?\.?<(?:listcomp|setcomp|dictcomp|genexpr)>")
"""Since Python 3.12 most of them have no frame of their own."""

_MAX_CACHED = 20_000
_own_packages: set[str] = set()


class Place(NamedTuple):
    """Where code is, without its path and line.

    Attributes:
        module: Its module's name.
        function: Its function's qualified name.
    """

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"


class Owner(Enum):
    """Whose code is."""

    APPLICATION = auto()
    PACKAGE = auto()
    INTERPRETER = auto()
    """Also the kit's."""


_known: dict[CodeType, tuple[Owner, Place]] = {}


def add_package(module: str) -> None:
    """Treat the package of a module as the application's, though it may be installed."""
    package = module.partition(".")[0]
    if package and package not in _own_packages and package not in _FRAMEWORKS:
        _own_packages.add(package)
        _known.clear()


def own_places(traceback: TracebackType | None) -> list[Place]:
    """Own frames of a traceback, the innermost first, each place once: recursion is folded."""
    found: dict[Place, None] = {}
    for frame in innermost_first(traceback):
        owner, place = inspect(frame)
        if owner is Owner.APPLICATION:
            found[place] = None
            if len(found) == MAX_OWN_FRAMES:
                break
        elif found and place.module in _ROUTERS:
            break
    return list(found)


def package_places(traceback: TracebackType | None) -> list[Place]:
    """The innermost frames of installed packages, for an error without an own frame."""
    found: dict[Place, None] = {}
    for frame in innermost_first(traceback):
        owner, place = inspect(frame)
        if owner is Owner.PACKAGE:
            found[place] = None
            if len(found) == _MAX_FALLBACK:
                break
    return list(found)


def innermost_first(traceback: TracebackType | None) -> Iterator[FrameType]:
    """Frames of a traceback, the innermost first, of a long one only those."""
    frames: deque[FrameType] = deque(maxlen=MAX_INSPECTED)
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return reversed(frames)


def inspect(frame: FrameType) -> tuple[Owner, Place]:
    """Whose code a frame runs, and where that is."""
    code = frame.f_code
    known = _known.get(code)
    if known is None:
        if len(_known) >= _MAX_CACHED:
            _known.clear()
        function = _COMPREHENSION.sub("", code.co_qualname) or "<module>"
        place = Place(_module_of(frame), stable_name(function))
        known = _known[code] = _owner(code.co_filename, place.module), place
    return known


def _owner(file: str, module: str) -> Owner:
    if file.startswith(_KIT):
        return Owner.INTERPRETER
    if any(part in file for part in _INSTALLED):  # these may be below the standard library
        own = module.partition(".")[0] in _own_packages
        return Owner.APPLICATION if own else Owner.PACKAGE
    return Owner.INTERPRETER if file.startswith(_STANDARD) else Owner.APPLICATION


def _module_of(frame: FrameType) -> str:
    """The module's name of a frame; of the main module, the name that it would be imported by."""
    scope = frame.f_globals
    name = scope.get("__name__")
    if name == "__main__":
        spec = scope.get("__spec__")
        name = getattr(spec, "name", None) or Path(frame.f_code.co_filename).stem
        name = name.removesuffix(".__main__")
    elif not isinstance(name, str):
        name = Path(frame.f_code.co_filename).stem
    return stable_name(name)


def stable_name(name: str) -> str:
    """A name without the parts that a program generates."""
    return _VARYING.sub("N", name)


@lru_cache(1_000)
def type_name(kind: type) -> str:
    """A class's name with its top-level package, wherever in it the class is.

    Those of the interpreter have no package: they move between versions of Python.
    """
    package = kind.__module__.partition(".")[0].lstrip("_")
    is_standard = package in sys.stdlib_module_names or package == "builtins"
    name = stable_name(kind.__qualname__)
    return name if is_standard else f"{package}.{name}"
