"""The walk over what modules reach: names, bounds, and that no code of the application runs."""

import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from functools import cache, wraps
from types import ModuleType
from typing import Any, NoReturn

import pytest

from vitals.profiling.memory import containers
from vitals.profiling.memory.code_names import CodeNames
from vitals.profiling.memory.containers import MIN_ENTRIES, Container, walk


class Guarded(OrderedDict[int, int]):
    def __len__(self) -> NoReturn:
        raise AssertionError("code of the application ran")

    __iter__ = __bool__ = values = __len__


class Clause:
    def __bool__(self) -> NoReturn:
        raise AssertionError("code of the application ran")

    __eq__ = __hash__ = __bool__  # type: ignore[assignment]


class Store:
    orders: dict[int, object] = {}  # noqa: RUF012  # what is looked for

    def __init__(self) -> None:
        self.items = deque(range(MIN_ENTRIES))
        self.clause = Clause()


@pytest.fixture
def module() -> Iterator[Any]:
    made = ModuleType("leaking")
    made.__file__ = __file__.replace("test_containers", "leaking")
    sys.modules["leaking"] = made
    yield made
    del sys.modules["leaking"]


def found() -> dict[str, Container]:
    return {each.name: each for step in walk() for each in step}


def test_containers_are_named_by_what_holds_them(module: Any) -> None:
    many = range(MIN_ENTRIES)
    module.ROWS = [{"id": number} for number in many]
    module.FEW = list(range(MIN_ENTRIES - 1))
    module.store = Store()
    module.guarded = Guarded.fromkeys(many)
    module.inner = {"by_day": {number: {number} for number in many}}

    @cache
    def remembered(number: int) -> tuple[int]:
        return (number,)

    for number in many:
        remembered(number)
    module.remembered = remembered
    names = found()
    shown = {name: (each.kind, each.holds) for name, each in names.items() if "leaking:" in name}
    assert shown == {
        "leaking:ROWS": ("list", "dict"),
        "leaking:store.items": ("collections.deque", "int"),
        "leaking:guarded": (f"{__name__}.Guarded", "NoneType"),
        "leaking:inner": ("dict", "set"),
        "leaking:remembered": ("dict", "tuple"),
    }
    assert names["leaking:ROWS"].entries == MIN_ENTRIES


def test_walk_is_bounded(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_OBJECTS", 50)
    monkeypatch.setattr(containers, "STEP_SECONDS", 0.0)
    module.nested = [[[number] for number in range(100)] for _ in range(100)]
    assert sum(1 for _ in walk()) <= 51


def kept(function: Any) -> Any:
    @wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


class Shop:
    @kept
    def decorated(self) -> int:
        return 1

    @property
    def size(self) -> int:
        return [number for number in (1,)][0]  # noqa: C416, RUF015  # has code of its own


def outer() -> Any:
    def inner() -> int:
        return 1

    return inner


def test_lines_are_named_by_the_innermost_function() -> None:
    names = CodeNames()
    for function, name in (
        (Shop.__dict__["decorated"].__wrapped__, "Shop.decorated"),
        (Shop.__dict__["size"].fget, "Shop.size"),
        (outer(), "outer.<locals>.inner"),
    ):
        number = function.__code__.co_firstlineno + 1
        line = names.name(__file__, number + (name != "outer.<locals>.inner"))
        assert line.function.startswith(name)
        assert line.module == __name__
    assert names.name(__file__, 1).function == "<module>"
    assert names.name("/gone/shop.py", 7).site == "shop::7"
