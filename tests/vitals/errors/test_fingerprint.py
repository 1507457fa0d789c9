"""Fingerprints: one for each error, whatever of it varies."""

import asyncio
import linecache
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import CodeType
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy.util import greenlet_spawn

from vitals.errors.fingerprint import fingerprint
from vitals.errors.own_frames import add_package

KINDS = ("ValueError", "KeyError", "RuntimeError", "LookupError", "OSError")


def caught(raise_it: Callable[[], Any]) -> BaseException:
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def identity(raise_it: Callable[[], Any]) -> str:
    return fingerprint(caught(raise_it)).id


def fail(message: str = "x") -> None:
    raise ValueError(message)


SITES = 50


def release_source(number: int) -> str:
    """A release of a module with fifty places that raise; lines move from one to the next."""
    lines = [f"# release {number}"] * (number * 7)
    for site in range(SITES):
        lines += ["", *["# moved"] * (number * site % 5), f"def site_{site}(message):"]
        lines += [f"    helper_{site % 7}(lambda: None)"] * number
        lines += [f"    raise {KINDS[site % len(KINDS)]}(message)"]
    for helper in range(7):
        lines += [f"def helper_{helper}(call):", "    return call()"]
    lines += ["def handle(site, message):", "    globals()[f'site_{site}'](message)"]
    return "\n".join(lines)


@cache
def release(number: int, checkout: str) -> Callable[[int, str], None]:
    """The entry of a release in a checkout, as an import of it would make it."""
    scope: dict[str, Any] = {"__name__": "shop.orders"}
    path = f"{checkout}/shop/orders.py"
    code: CodeType = compile(release_source(number), path, "exec")
    exec(code, scope)  # noqa: S102
    handle: Callable[[int, str], None] = scope["handle"]
    return handle


def test_ten_thousand_errors_of_fifty_places_over_five_releases_are_fifty_groups() -> None:
    shuffled = random.Random(7)  # noqa: S311
    found: dict[str, set[int]] = {}
    for count in range(10_000):
        site = count % SITES
        checkout = f"/tmp/build-{shuffled.randrange(3)}-{shuffled.randrange(3):x}"  # noqa: S108
        handle = release(shuffled.randrange(5), checkout)
        message = f"order {shuffled.getrandbits(64):x} at 0x{shuffled.getrandbits(48):x}"
        error = fingerprint(caught(lambda h=handle, s=site, m=message: h(s, m)))  # type: ignore[misc]
        assert error.place == f"shop.orders:site_{site}"
        found.setdefault(error.id, set()).add(site)
    assert len(found) == SITES
    assert all(len(sites) == 1 for sites in found.values())
    linecache.clearcache()


def test_another_process_and_checkout_find_the_same(tmp_path: Path) -> None:
    script = (
        "from shop.orders import handle\n"
        "from vitals.errors.fingerprint import fingerprint\n"
        "try:\n    handle(3, 'elsewhere')\n"
        "except Exception as error:\n    print(fingerprint(error.with_traceback("
        "error.__traceback__.tb_next)).id)\n"
    )
    found = set()
    for number in (0, 4):
        package = tmp_path / f"checkout-{number}" / "shop"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "orders.py").write_text(release_source(number))
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": f"{package.parent}:{Path(__file__).parents[3]}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found.add(ran.stdout)
    assert len(found) == 1


def test_recursion_is_one_error_however_deep() -> None:
    def descend(depth: int) -> None:
        if not depth:
            raise ValueError(depth)
        descend(depth - 1)

    def endless() -> None:
        endless()

    assert identity(lambda: descend(1)) == identity(lambda: descend(90))
    assert fingerprint(caught(endless)).type == "RecursionError"


async def fail_in(where: str) -> None:
    if where == "thread":
        await anyio.to_thread.run_sync(fail)
    elif where == "executor":
        await asyncio.get_running_loop().run_in_executor(None, fail)
    elif where == "greenlet":
        await greenlet_spawn(fail)
    elif where == "callback":
        await asyncio.wait_for(anyio.to_thread.run_sync(partial(fail, "y")), 10)
    else:
        fail()


def test_frames_of_threads_tasks_and_greenlets_do_not_count() -> None:
    wheres = ("thread", "executor", "greenlet", "callback", "here")
    found = {fingerprint(caught(lambda w=w: asyncio.run(fail_in(w)))) for w in wheres}  # type: ignore[misc]
    assert len(found) == 1


def test_comprehensions_have_the_frame_of_their_function() -> None:
    def convert(texts: list[str]) -> list[int]:
        return [int(text) for text in texts]

    def generate(texts: list[str]) -> list[int]:
        return list(int(text) for text in texts)  # noqa: C400

    assert fingerprint(caught(lambda: convert(["x"]))).place.endswith("<locals>.convert")
    assert fingerprint(caught(lambda: generate(["x"]))).place.endswith("<locals>.generate")


def test_generated_names_do_not_count() -> None:
    def made(name: str) -> Callable[[], None]:
        scope: dict[str, Any] = {"__name__": f"plugin_{name}"}
        exec(  # noqa: S102
            compile(f"def call_{name}():\n    raise ValueError", f"/tmp/{name}.py", "exec"),  # noqa: S108
            scope,
        )
        found: Callable[[], None] = scope[f"call_{name}"]
        return found

    # Without what differs in this test's own lambda frames.
    one, two = made("1718900001"), made("1718900002")
    assert len({identity(made_one) for made_one in (one, two)}) == 1


def test_classes_made_at_run_time_count_as_their_base() -> None:
    def raise_made() -> None:
        made = type(f"Problem{random.getrandbits(60)}", (LookupError,), {})
        raise made

    found = {fingerprint(caught(raise_made)) for _ in range(3)}
    assert len(found) == 1
    assert found.pop().type == "LookupError"


def test_a_cause_counts_and_what_was_being_handled_does_not() -> None:
    def load(kind: type[Exception]) -> None:
        raise kind

    def wrapped(kind: type[Exception]) -> None:
        try:
            load(kind)
        except Exception as error:
            raise RuntimeError from error

    def while_handling(kind: type[Exception]) -> None:
        try:
            load(kind)
        except Exception:  # noqa: BLE001
            raise RuntimeError  # noqa: B904

    assert identity(lambda: wrapped(KeyError)) != identity(lambda: wrapped(OSError))
    both = (KeyError, OSError)
    assert len({identity(lambda k=kind: while_handling(k)) for kind in both}) == 1  # type: ignore[misc]


def test_a_group_of_one_error_is_that_error() -> None:
    async def fails() -> None:
        fail()

    async def group(size: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(size):
                tasks.create_task(fails())

    async def alone() -> None:
        await asyncio.create_task(fails())

    once, thrice = (fingerprint(caught(lambda s=s: asyncio.run(group(s)))) for s in (1, 3))  # type: ignore[misc]
    assert once == thrice
    assert once.type == "ValueError"


def test_a_group_of_several_errors_is_where_it_was_raised() -> None:
    def both(first: Exception, second: Exception) -> None:
        raise ExceptionGroup("both", [first, second])

    errors = [caught(fail), caught(lambda: int("x")), caught(lambda: dict[str, int]()["x"])]
    found = {
        fingerprint(caught(lambda a=a, b=b: both(a, b)))  # type: ignore[misc]
        for a in errors
        for b in errors
        if a is not b
    }
    assert len(found) == 1
    assert found.pop().type == "ExceptionGroup"


def test_deeply_nested_groups_cost_little() -> None:
    error: Exception = ValueError()
    for _ in range(200):
        error = ExceptionGroup("", [error, error])
    assert fingerprint(error).type == "ValueError"


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_odd_exceptions_have_a_fingerprint() -> None:
    def unprintable() -> None:
        raise UnprintableError

    def wrong_source() -> None:
        compile("def broken(:", "/tmp/somewhere.py", "exec")  # noqa: S108

    def in_c() -> None:
        sorted([1, "x"])  # type: ignore[type-var]

    never_raised = ValueError("x")
    cyclic = ValueError("x")
    cyclic.__cause__ = cyclic
    errors = [caught(unprintable), caught(wrong_source), caught(in_c), never_raised, cyclic]
    assert [fingerprint(error).type for error in errors] == [
        *("UnprintableError", "SyntaxError", "TypeError", "ValueError", "ValueError")
    ]
    assert len({fingerprint(error).id for error in errors}) == 4


def test_an_installed_package_may_be_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "installed_shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def pay():\n    raise ValueError\n")
    monkeypatch.syspath_prepend(package.parent)
    from installed_shop import pay  # type: ignore[import-not-found]  # noqa: PLC0415

    def through() -> None:
        pay()

    assert fingerprint(caught(through)).place.endswith(".through")
    add_package("installed_shop.main")
    assert fingerprint(caught(through)).place == "installed_shop:pay"
