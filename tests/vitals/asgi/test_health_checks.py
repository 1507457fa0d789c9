import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asgi_lifespan import LifespanManager
from fastapi import APIRouter, FastAPI

from tests.vitals.client import fetch
from vitals import instrument
from vitals.asgi.health_checks import USUAL, health_checks
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.testing import Readings


@pytest.mark.parametrize(
    "path",
    [
        *USUAL,
        "/api/health",
        "/api/v1/ready",
        "/v2/ping",
        "/-/healthy",
        "/-/ready",
        "/_health",
        "/__heartbeat__",
        "/health/live",
        "/health/liveliness",
        "/health/",
        "/api/v1/utils/health-check/",
        "/internal/probes/readyz",
    ],
)
def test_usual_names_are_health_checks(path: str) -> None:
    assert health_checks([path]) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/orders/status",
        "/orders/{id}/status",
        "/{page}",
        "/health/{patient}",
        "/insurance/health",
        "/healthy-recipes",
        "/statuses",
        "/update",
    ],
)
def test_other_names_are_none(path: str) -> None:
    assert health_checks([path]) == []


def make(**options: object) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False, **options)  # type: ignore[arg-type]
    router = APIRouter(prefix="/utils")

    @router.get("/health-check/")
    async def check() -> bool:
        return True

    @app.post("/status")
    async def set_status() -> bool:
        return True

    app.include_router(router, prefix="/api/v1")
    return app


def counted(app: FastAPI) -> set[str]:
    series = Readings.of(app).samples
    name = HTTP_REQUEST_DURATION.name + "_count"
    return {
        sample.labels["http_route"] for sample in series if sample.name == name and sample.value
    }


def test_health_checks_are_found_and_only_reads_of_them_are_unmeasured() -> None:
    app = make()
    for method, path in (
        ("GET", "/healthz"),
        ("HEAD", "/ping"),
        ("GET", "/api/v1/utils/health-check/"),
        ("POST", "/status"),
    ):
        fetch(app, method, path)
    assert counted(app) == {"/status"}


def test_the_services_own_list_replaces_the_usual_names() -> None:
    app = make(exclude=["/alive"])
    for path in ("/alive", "/healthz", "/api/v1/utils/health-check/"):
        fetch(app, "GET", path)
    assert counted(app) == {"", "/api/v1/utils/health-check/"}


def test_a_health_check_that_is_added_at_the_start_is_found() -> None:
    @asynccontextmanager
    async def add(app: FastAPI) -> AsyncIterator[None]:
        app.add_api_route("/internal/healthz", lambda: True)
        yield

    app = FastAPI(lifespan=add)
    instrument(app, logs=False)

    async def run() -> None:
        async with LifespanManager(app):
            pass

    asyncio.run(run())
    assert fetch(app, "GET", "/internal/healthz").text == "true"
    assert counted(app) == set()
