"""Names of lines: the module and function of a line of a file, as the interpreter has them.

tracemalloc tells files and lines only. The functions are found among those that the modules hold,
without reading or parsing the file, which a process may not have any more.
"""

import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType

from vitals.profiling.stacks import Line

MAX_CODES = 20_000
"""Functions that are looked at for one file, nested ones included."""
_BODY = "<module>"


class CodeNames:
    """Names the lines of files; keep it as long as no module is imported anew."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType] = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None) if type(module) is ModuleType else None
            if isinstance(file, str):
                self._modules.setdefault(file, module)
        self._codes: dict[str, list[tuple[int, int, str]]] = {}

    def name(self, path: str, number: int) -> Line:
        """Name a line; its function is ``<module>`` if none of the module's is at it."""
        module = self._modules.get(path)
        if module is None:
            return Line(path.rpartition("/")[2].removesuffix(".py"), "", path, number)
        codes = self._codes.get(path)
        if codes is None:
            codes = self._codes[path] = list(_codes_of(module, path))
        around = [each for each in codes if each[0] <= number <= each[1]]
        function = max(around)[2] if around else _BODY  # the innermost one begins last
        return Line(module.__name__, function, path, number)


def _codes_of(module: ModuleType, path: str) -> Iterator[tuple[int, int, str]]:
    """First and last line, and name, of each function of a module's file."""
    seen: set[int] = set()
    waiting: list[CodeType] = [code for each in _functions(module) if (code := _code(each))]
    while waiting and len(seen) < MAX_CODES:
        code = waiting.pop()
        if id(code) in seen or code.co_filename != path:
            continue
        seen.add(id(code))
        last = max((line for *_, line in code.co_lines() if line), default=code.co_firstlineno)
        yield code.co_firstlineno, last, code.co_qualname
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]


def _functions(module: ModuleType) -> Iterator[object]:
    """Functions of a module, and of its classes."""
    for value in list(vars(module).values()):
        yield from _unwrapped(value)
        if isinstance(value, type) and value.__module__ == module.__name__:
            for member in list(vars(value).values()):
                yield from _unwrapped(member)


def _unwrapped(value: object) -> Iterable[object]:
    """A function with what it wraps: as a decorator, a method or a property."""
    found = [value]
    for name in ("__wrapped__", "__func__", "fget"):
        try:
            inner = object.__getattribute__(value, name)
        except Exception:  # noqa: BLE001, S112  # a class of the host's may do anything
            continue
        found.append(inner)
    # A decorator without `functools.wraps` has the function in a cell.
    if isinstance(value, FunctionType):
        found += [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    return found


def _is_filled(cell: object) -> bool:
    try:
        return isinstance(cell.cell_contents, FunctionType)  # type: ignore[attr-defined]
    except ValueError:
        return False


def _code(value: object) -> CodeType | None:
    return value.__code__ if isinstance(value, FunctionType) else None
