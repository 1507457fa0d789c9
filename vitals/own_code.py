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

_is_application: dict[CodeType, bool] = {}


def is_application_code(code: CodeType) -> bool:
    """Whether code is the application's."""
    known = _is_application.get(code)
    if known is None:
        name = code.co_filename
        known = not name.startswith(STANDARD) and not any(part in name for part in _INSTALLED)
        if len(_is_application) >= _CACHE_SIZE:
            _is_application.clear()
        _is_application[code] = known
    return known


def short_path(name: str) -> str:
    """A file's name from the folder on that it is imported from."""
    roots = [root for root in (str(Path.cwd()), *sys.path) if root and name.startswith(root + "/")]
    shown = name.removeprefix(max(roots, key=len) + "/") if roots else name
    for part in _INSTALLED:
        shown = shown.rpartition(part)[2]
    return shown
