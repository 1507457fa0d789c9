"""Containers that the application's modules reach: which of them have many entries.

A leak is most often a dictionary, list or set in a module, in a class or in an object that one of
these holds. Their lengths are read in small steps, from the modules on: a walk over all objects of
a process would hold the interpreter's lock for as long as they are many, and does not even see
dictionaries of plain values, which the garbage collector of Python before 3.14 does not track.
No code of the application runs, and nothing of it is kept.
"""

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import ref

from vitals.own_code import is_application_code, is_application_file
from vitals.profiling.memory.allocations import Place, place_of, type_label

MIN_ENTRIES = 200
"""Entries from which on a container is reported; those with fewer are looked into."""
MAX_OBJECTS = 10_000
"""Objects that one walk looks at."""
STEP_SECONDS = 0.001
"""Time of one step, in which the interpreter's lock may be held."""
MAX_DEPTH = 5
"""References from a module to a container."""
_MAX_NAME = 120
_SCALARS: frozenset[type] = frozenset(
    {
        *(str, bytes, bytearray, int, float, complex, bool, type(None), type(...), range, slice),
        *(CodeType, BuiltinFunctionType, ModuleType, memoryview, property),
    }
)
_WITHOUT_DATA = frozenset(
    {
        *("vitals", "pydantic", "pydantic_core", "annotated_types", "typing", "types"),
        *("logging", "weakref", "_weakref", "inspect"),
    }
)
"""Packages whose objects describe code, or refer to much that is not the application's."""
_SIZED: tuple[tuple[type, Callable[[Any], int]], ...] = tuple(
    (kind, kind.__len__) for kind in (dict, list, set, frozenset, deque, tuple)
)


@dataclass(frozen=True)
class Container:
    """A container with many entries.

    Attributes:
        name: ``module:name``, with the attribute where an object holds it.
        kind: Its type.
        entries: How many it has.
        holds: The type of the newest entry; of any, where there is no order.
        again: Returns it, if it is where it was; None where it cannot be found again. It is not
            held meanwhile.
    """

    name: str
    kind: str
    entries: int
    holds: str
    again: Callable[[], Any]

    def look_again(self) -> tuple[int, str, Place | None] | None:
        """Its entries, the type of the newest one, and where that was allocated if it is traced.

        None if it is not found, or changes just then.
        """
        value = self.again()
        for base, length in _SIZED:
            if issubclass(type(value), base):
                try:
                    newest = _newest(value, base)
                except (LookupError, RuntimeError, StopIteration):
                    return None
                return length(value), type_label(type(newest)), place_of(newest)
        return None


class _Reached(NamedTuple):
    """What waits to be looked at; held weakly where it can be, to end in its own thread.

    Attributes:
        value: Returns it, or None.
        name: Of what in a module leads to it.
        depth: By how many references.
        holder: Returns the object that holds it, or None.
    """

    value: Callable[[], Any]
    name: str
    depth: int
    holder: Callable[[], Any]


def walk() -> Iterator[list[Container]]:
    """Look at what the application's modules reach, a step at a time.

    Yields:
        Containers of each step.
    """
    waiting: deque[_Reached] = deque()
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) if type(module) is ModuleType else None
        if isinstance(file, str) and is_application_file(file):
            seen.add(id(vars(module)))
            for name, value in list(vars(module).items()):
                if not name.startswith("__") and type(value) not in _SCALARS:
                    reached = _Reached(_hold(value), f"{module.__name__}:{name}", 0, _nothing)
                    waiting.append(reached)
    looked, found, began = 0, list[Container](), perf_counter()
    while waiting and looked < MAX_OBJECTS:
        looked += 1
        try:
            container = _look_at(waiting.popleft(), waiting, seen)
        except Exception:  # noqa: BLE001, S112  # a metaclass of the host's may do anything
            continue
        if container is not None:
            found.append(container)
        if perf_counter() - began >= STEP_SECONDS:
            yield found
            found, began = [], perf_counter()
    yield found


def _look_at(reached: _Reached, waiting: deque[_Reached], seen: set[int]) -> Container | None:
    """A container, if it is one with many entries; else what it refers to waits to be looked at."""
    value = reached.value()
    kind = type(value)
    if value is None or id(value) in seen:
        return None
    seen.add(id(value))
    for base, length in _SIZED:
        if issubclass(kind, base):
            entries = length(value)
            if entries >= MIN_ENTRIES:
                return _container(reached, value, base, entries)
            break
    if reached.depth < MAX_DEPTH and _is_looked_into(value, kind):
        # Of an object, its dictionary is one reference more, which counts as none.
        of_object = kind is dict and reached.holder is not _nothing
        holder = reached.holder if of_object else _hold(value)
        for inner in gc.get_referents(value):
            if type(inner) not in _SCALARS and id(inner) not in seen:
                is_own = type(inner) is dict and not issubclass(kind, dict)
                depth = reached.depth if is_own else reached.depth + 1
                waiting.append(_Reached(_hold(inner), reached.name, depth, holder))
    return None


def _hold(value: Any) -> Callable[[], Any]:
    try:
        return ref(value)
    except TypeError:  # a dictionary, list or tuple
        return lambda: value


def _nothing() -> None:
    return None


def _is_looked_into(value: Any, kind: type) -> bool:
    if issubclass(kind, FunctionType):
        return is_application_code(value.__code__)
    if issubclass(kind, type):
        module = sys.modules.get(value.__module__) if isinstance(value.__module__, str) else None
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and is_application_file(file)
    module_name: Any = kind.__module__
    return kind is MethodType or not (
        isinstance(module_name, str) and module_name.partition(".")[0] in _WITHOUT_DATA
    )


def _container(reached: _Reached, value: Any, base: type, entries: int) -> Container | None:
    try:
        holds = type_label(type(_newest(value, base)))
    except (LookupError, RuntimeError, StopIteration):  # it changed meanwhile
        return None
    name, again = _find(reached, value)
    return Container(name[:_MAX_NAME], type_label(type(value)), entries, holds, again)


def _newest(value: Any, base: Any) -> Any:
    """The newest entry, as far as there is an order; of a dictionary, its value."""
    if base is dict:
        return next(reversed(dict.values(value)))
    if base in (list, deque, tuple):
        return base.__getitem__(value, -1)
    return next(iter(base.__iter__(value)))


def _find(reached: _Reached, value: Any) -> tuple[str, Callable[[], Any]]:
    """The name of a container, with the attribute of what holds it, and how to find it again."""
    module, _, name = reached.name.partition(":")
    scope = vars(sys.modules[module]) if module in sys.modules else {}
    if scope.get(name) is value:
        return reached.name, partial(scope.get, name)
    holder = reached.holder()
    if holder is not None and not isinstance(holder, dict | list | tuple | FunctionType):
        try:
            attributes = dict(object.__getattribute__(holder, "__dict__"))
        except Exception:  # noqa: BLE001  # it has none, or a class of the host's may do anything
            attributes = {}
        for attribute, inner in attributes.items():
            if inner is value:
                read = partial(_attribute, reached.holder, attribute)
                return f"{reached.name}.{attribute}", read
    try:
        return reached.name, ref(value)
    except TypeError:
        return reached.name, _nothing


def _attribute(holder: Callable[[], Any], name: str) -> Any:
    value = holder()
    return None if value is None else object.__getattribute__(value, "__dict__").get(name)
