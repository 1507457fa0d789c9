"""Fixtures of the cache's tests."""

import pytest

from tests.vitals.cache.caches import Source


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def source(anyio_backend: str) -> Source:
    """Source of a cache's loads; made on the test's event loop."""
    return Source()
