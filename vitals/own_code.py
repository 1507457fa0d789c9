"""Whose code a file holds: the application's, an installed package's, or the interpreter's."""

import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType

_KIT = str(Path(__file__).parent) + os.sep
_PATHS = sysconfig.get_paths()
STANDARD = tuple({_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<", _KIT})
"""How names of files begin that are the interpreter's or the kit's."""
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_CACHE_SIZE = 20_000

KNOWN_FILES: dict[str, bool] = {}
"""Whether a file's code is the application's, as far as it was asked for."""


def is_application_code(code: CodeType) -> bool:
    """Whether code is the application's."""
    # By its file: Python hashes a code object anew each time, with its constants.
    return is_application_file(code.co_filename)


def is_application_file(name: str) -> bool:
    """Whether a file's code is the application's."""
    known = KNOWN_FILES.get(name)
    if known is None:
        known = not name.startswith(STANDARD) and not any(part in name for part in _INSTALLED)
        if len(KNOWN_FILES) >= _CACHE_SIZE:
            KNOWN_FILES.clear()
        KNOWN_FILES[name] = known
    return known


def short_path(name: str) -> str:
    """A file's name from the folder on that it is imported from."""
    roots = [root for root in (str(Path.cwd()), *sys.path) if root and name.startswith(root + "/")]
    shown = name.removeprefix(max(roots, key=len) + "/") if roots else name
    for part in _INSTALLED:
        shown = shown.rpartition(part)[2]
    return shown
