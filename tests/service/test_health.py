import asyncio

import pytest

from service.errors import UnavailableError
from tests.service.running import Service, problem

pytestmark = pytest.mark.anyio


async def test_readiness_with_all_dependencies_available(service: Service) -> None:
    life = await service.client.get("/healthz")
    assert life.json() == {"status": "ok"}
    ready = await service.client.get("/readyz")
    assert ready.json() == {"status": "ok", "database": "ok", "cache": "ok"}
    assert life.headers["cache-control"] == ready.headers["cache-control"] == "no-store"


async def test_unavailable_cache_is_degraded(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> bool:
        return False

    monkeypatch.setattr(light.app.state.cache, "ping", away)
    ready = await light.client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "degraded", "database": "ok", "cache": "unavailable"}


async def test_unavailable_database_is_not_ready(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise UnavailableError

    monkeypatch.setattr(light.database, "ping", away)
    ready = await light.client.get("/readyz")
    body = problem(ready, 503)
    assert (body["database"], body["cache"]) == ("unavailable", "ok")
    assert ready.headers["cache-control"] == "no-store"
    assert (await light.client.get("/healthz")).status_code == 200


async def test_frozen_dependency_does_not_block_readiness(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("service.health.PROBE_SECONDS", 0.05)
    monkeypatch.setattr(light.database, "ping", hang)
    monkeypatch.setattr(light.app.state.cache, "ping", hang)
    body = problem(await light.client.get("/readyz"), 503)
    assert (body["database"], body["cache"]) == ("unavailable", "unavailable")
