"""Application code: which code is the service's own, rather than a library's."""

import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType

_HERE = str(Path(__file__).parent) + os.sep
_PATHS = sysconfig.get_paths()
STANDARD = tuple({_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<", _HERE})
"""Prefixes of the files of the standard library, of generated code and of the kit."""
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_CACHE_SIZE = 20_000

_known: dict[CodeType, bool] = {}


def is_application_code(code: CodeType) -> bool:
    """Whether code is neither the standard library's, nor the kit's, nor an installed package's."""
    known = _known.get(code)
    if known is None:
        name = code.co_filename
        known = not name.startswith(STANDARD) and not any(part in name for part in _INSTALLED)
        if len(_known) >= _CACHE_SIZE:
            _known.clear()
        _known[code] = known
    return known


def short_path(name: str) -> str:
    """The path of a file below where Python imports from, such as ``orders/repository.py``."""
    roots = [root for root in (str(Path.cwd()), *sys.path) if root and name.startswith(root + "/")]
    shown = name.removeprefix(max(roots, key=len) + "/") if roots else name
    for part in _INSTALLED:
        shown = shown.rpartition(part)[2]
    return shown
