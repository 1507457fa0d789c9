"""Cached functions: keys of arguments, tags, and endpoints of FastAPI."""

from __future__ import annotations  # as a service may have it: annotations are text

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Query
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel

from vitals.cache import Cache, CachedFunction
from vitals.cache.core.keys import KeyTemplate

pytestmark = pytest.mark.anyio


class Thing(BaseModel):
    id: int
    name: str


@dataclass
class Client:
    """What a dependency may return: it has no text of its own."""

    __repr__ = object.__repr__


async def get_client() -> Client:
    return Client()


@pytest.fixture
async def cache(anyio_backend: str) -> AsyncIterator[Cache]:
    async with Cache() as opened:
        yield opened


async def test_result_is_cached_by_arguments_however_they_are_passed(cache: Cache) -> None:
    calls: list[tuple[int, str]] = []

    @cache.namespace("thing", schema=Thing, ttl=60).cached()
    async def find(number: int, name: str = "desk") -> Thing:
        """Find it."""
        calls.append((number, name))
        return Thing(id=number, name=name)

    for _ in range(2):
        assert await find(1) == Thing(id=1, name="desk")
        assert await find(number=1, name="desk") == Thing(id=1, name="desk")
        assert await find(1, name="lamp") == Thing(id=1, name="lamp")
    assert calls == [(1, "desk"), (1, "lamp")]
    assert (find.__name__, find.__doc__) == ("find", "Find it.")  # type: ignore[attr-defined]

    await find.invalidate(1)
    assert await find(1, "lamp") == Thing(id=1, name="lamp")
    assert len(calls) == 2
    await find(1)
    assert len(calls) == 3
    await cache.invalidate(find.entry(1, "lamp"))
    await find(1, "lamp")
    assert len(calls) == 4


async def test_wrong_arguments_are_an_error_of_the_call(cache: Cache) -> None:
    @cache.namespace("thing", schema=int, ttl=60).cached()
    async def find(number: int, language: str = "en", **others: int) -> int:
        return number + sum(others.values())

    assert await find(number=1, language="en", others=2) == 3
    assert await find(1, "en", others=4) == 5
    assert await find(1, more=2) == 3
    assert await find(1) == await find(number=1, language="en") == 1
    with pytest.raises(TypeError, match="number"):
        await find(language="en")  # type: ignore[call-arg]


async def test_function_without_parameters_has_one_value(cache: Cache) -> None:
    calls = []

    @cache.namespace("all", schema=list[str], ttl=60).cached()
    async def names() -> list[str]:
        calls.append(1)
        return ["a"]

    assert [await names(), await names()] == [["a"], ["a"]]
    assert len(calls) == 1


async def test_none_is_cached_and_errors_are_not(cache: Cache) -> None:
    calls = []

    @cache.namespace("thing", schema=Thing, ttl=60).cached()
    async def find(number: int) -> Thing | None:
        calls.append(number)
        if number < 0:
            raise LookupError(number)
        return None

    assert [await find(1), await find(1)] == [None, None]
    for _ in range(2):
        with pytest.raises(LookupError):
            await find(-1)
    assert calls == [1, -1, -1]


async def test_tags_are_made_of_arguments(cache: Cache) -> None:
    calls = []
    pages = cache.namespace("page", schema=int, ttl=60)

    @pages.cached(key="{category}:{page}", tags=["category:{category}"])
    async def count(category: str, page: int) -> int:
        calls.append((category, page))
        return len(calls)

    async def read() -> list[int]:
        return [await count("a", 1), await count("a", 2), await count("b", 1)]

    assert await read() == [1, 2, 3]
    await cache.invalidate(cache.tag("category:a"))
    assert await read() == [4, 5, 3]


async def test_ignored_arguments_are_passed_on(cache: Cache) -> None:
    @cache.namespace("thing", schema=str, ttl=60).cached(ignore=["client"])
    async def find(number: int, client: str) -> str:
        return client

    assert [await find(1, "a"), await find(1, "b"), await find(2, "b")] == ["a", "a", "b"]


async def test_concurrent_calls_share_one_that_outlives_its_caller(cache: Cache) -> None:
    go, calls = asyncio.Event(), []

    @cache.namespace("thing", schema=int, ttl=60).cached()
    async def slow(number: int) -> int:
        calls.append(number)
        await go.wait()
        return number

    callers = [asyncio.ensure_future(slow(1)) for _ in range(10)]
    while not calls:
        await asyncio.sleep(0)
    callers[0].cancel()
    go.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [1] * 9
    assert calls == [1]


# -- Endpoints -------------------------------------------------------------------------------


async def test_endpoint_keeps_its_parameters(cache: Cache) -> None:
    app, calls = FastAPI(), []

    @app.get("/things/{number}")
    @cache.namespace("thing", schema=Thing, ttl=60).cached(ignore=["client"])
    async def read_thing(
        number: int,
        client: Annotated[Client, Depends(get_client)],
        words: Annotated[list[str] | None, Query()] = None,
    ) -> Thing:
        calls.append((number, words, type(client)))
        return Thing(id=number, name=" ".join(words or []))

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
        for _ in range(2):
            plain = await http.get("/things/1")
            words = await http.get("/things/1?words=a&words=b")
            assert (await http.get("/things/x")).status_code == 422
    assert plain.json() == {"id": 1, "name": ""}
    assert words.json() == {"id": 1, "name": "a b"}
    assert calls == [(1, None, Client), (1, ["a", "b"], Client)]
    operation = app.openapi()["paths"]["/things/{number}"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["number", "words"]
    assert operation["operationId"].startswith("read_thing")


# -- Keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, "None"),
        (None, "%N"),
        (None, ""),
        ("a:b", "a"),
        ("%3A", ":"),
        ("%25", "%"),
        (["a", "b"], ["a,b"]),
        ([], ""),
    ],
)
@pytest.mark.parametrize("template", ["{x}", "{x}:{y}"])
def test_different_values_have_different_keys(template: str, one: Any, other: Any) -> None:
    keys = {KeyTemplate(template).fill({"x": x, "y": "c"}) for x in (one, other)}
    assert len(keys) == 2
    if "y" in template:
        shifted = {
            KeyTemplate(template).fill({"x": "a:b", "y": "c"}),
            KeyTemplate(template).fill({"x": "a", "y": "b:c"}),
        }
        assert len(shifted) == 2


def test_a_set_has_the_same_key_in_every_process() -> None:
    words = [f"word{number}" for number in range(50)]
    keys = {KeyTemplate("{x}").fill({"x": each}) for each in (set(words), frozenset(words))}
    assert keys == {str(sorted(words))}


async def test_argument_without_text_is_refused(cache: Cache) -> None:
    @cache.namespace("thing", schema=int, ttl=60).cached()
    async def find(number: int, client: Client) -> int:
        return number

    with pytest.raises(TypeError, match="Client"):
        await find(1, Client())


async def test_mistakes_are_found_at_the_decorator(cache: Cache) -> None:
    things = cache.namespace("thing", schema=int, ttl=60)

    async def find(number: int, language: str) -> int:
        return number

    def blocking(number: int) -> int:
        return number

    with pytest.raises(ValueError, match="language would not be in its key"):
        things.cached(key="{number}")(find)
    with pytest.raises(ValueError, match="no parameter nummer"):
        things.cached(key="{nummer}:{number}:{language}")(find)
    with pytest.raises(ValueError, match="no parameter category"):
        things.cached(tags=["category:{category}"])(find)
    with pytest.raises(TypeError, match="not an async function"):
        things.cached()(blocking)  # type: ignore[arg-type]
    cached: CachedFunction[[int, str], int] = things.cached()(find)
    assert await cached(1, "en") == 1
    with pytest.raises(ValueError, match=r"caches .*find"):
        things.cached()(find)
