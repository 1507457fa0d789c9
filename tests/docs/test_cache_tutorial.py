"""The cache's tutorial: its second file serves as it stands; the first differs as the text says.

That no answer is stale is tested in ``tests/vitals/cache/consistency/test_foreign_service.py``.
"""

import asyncio
import difflib
import re
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from asgi_lifespan import LifespanManager
from prometheus_client import CollectorRegistry

from vitals import instrumentation
from vitals.metrics.catalogue import CACHE_INVALIDATIONS, CACHE_REQUESTS
from vitals.testing import Readings

PAGE = (Path(__file__).parents[2] / "docs" / "cache-tutorial.md").read_text()
BEFORE, AFTER = re.findall(r"^```python.*?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    defaults = instrumentation.instrument.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "registry", CollectorRegistry())  # metrics of other tests
    monkeypatch.setitem(defaults, "logs", False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    monkeypatch.delenv("REDIS_URL", raising=False)
    module = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)  # where SQLAlchemy evaluates annotations
    exec(compile(AFTER, "shop.py", "exec"), module.__dict__)  # noqa: S102 - the tutorial's text
    return module


def test_the_service_answers_what_was_committed_last(shop: ModuleType) -> None:
    async def use() -> Readings:
        async with LifespanManager(shop.app) as running:
            transport = httpx.ASGITransport(app=running.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                assert (await client.get("/books/1")).status_code == 404
                for stock in (3, 2):
                    book = {"title": "Emma", "stock": stock}
                    assert (await client.put("/books/1", json=book)).is_success
                    for _ in range(3):
                        assert (await client.get("/books/1")).json() == book | {"id": 1}
                        assert (await client.get("/books")).json() == [book | {"id": 1}]
            return Readings.of(shop.app)

    readings = asyncio.run(use())
    for cache in ("book", "book_list"):
        assert readings.value(CACHE_REQUESTS, cache=cache, layer="l1", result="hit") == 4
    assert readings.value(CACHE_INVALIDATIONS, cache="book", outcome="ok") > 0


def test_the_text_says_how_many_lines_change() -> None:
    lines = list(difflib.ndiff(BEFORE.splitlines(), AFTER.splitlines()))
    new = sum(line.startswith("+ ") and line.strip() != "+" for line in lines)
    old = sum(line.startswith("- ") and line.strip() != "-" for line in lines)
    assert f"by {new} new lines for {old}." in PAGE
    assert new <= 20
    assert "@cache(expire=60)" in BEFORE
    compile(BEFORE, "shop.py", "exec")
