"""No page of the kit shadows a route of the application."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client import Counter as ForeignCounter
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.vitals.client import fetch
from vitals import instrument
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.testing import Readings


def refuse() -> None:
    raise HTTPException(401)


def literal(app: FastAPI) -> None:
    app.get("/metrics", dependencies=[Depends(refuse)])(lambda: "private")


def starlette_route(app: FastAPI) -> None:
    app.router.routes.append(Route("/metrics", lambda _: PlainTextResponse("no", 401)))


def with_a_parameter(app: FastAPI) -> None:
    app.get("/{page}", dependencies=[Depends(refuse)])(lambda page: page)


def of_every_path(app: FastAPI) -> None:
    app.get("/{path:path}", dependencies=[Depends(refuse)])(lambda path: path)


def other_method(app: FastAPI) -> None:
    app.post("/metrics", dependencies=[Depends(refuse)])(lambda: "private")


def included(app: FastAPI) -> None:
    router = APIRouter(prefix="/metrics", dependencies=[Depends(refuse)])
    router.get("")(lambda: "private")
    app.include_router(router)


def mounted(app: FastAPI) -> None:
    inner = FastAPI(dependencies=[Depends(refuse)])
    inner.get("/")(lambda: "private")
    app.mount("/metrics", inner)


def mounted_at_the_root(app: FastAPI) -> None:
    inner = FastAPI(dependencies=[Depends(refuse)])
    inner.get("/metrics")(lambda: "private")
    app.mount("/", inner)


ROUTES = [
    literal,
    starlette_route,
    with_a_parameter,
    of_every_path,
    other_method,
    included,
    mounted,
    mounted_at_the_root,
]


def registry() -> CollectorRegistry:
    """What a guard of the application's protects."""
    filled = CollectorRegistry()
    ForeignCounter("spend", "Secret.", registry=filled).inc(42)
    return filled


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("add", ROUTES)
def test_a_route_of_the_metrics_path_keeps_it(
    add: Callable[[FastAPI], None], caplog: pytest.LogCaptureFixture, *, later: bool
) -> None:
    app = FastAPI()
    if not later:
        add(app)
    instrument(app, logs=False, registry=registry())
    if later:
        add(app)

    async def start() -> None:
        async with LifespanManager(app):
            pass

    asyncio.run(start())
    method = "POST" if add is other_method else "GET"
    assert fetch(app, method, "/metrics", follow_redirects=True).status_code == 401
    moved = fetch(app, "GET", "/vitals/metrics")
    assert "app_build_info" in moved.text
    assert "spend" not in moved.text  # which the application may serve behind its guard
    (said,) = (each.getMessage() for each in caplog.records if each.name == "vitals.asgi.own_paths")
    assert "/metrics" in said
    assert "/vitals/metrics" in said
    # The route is the application's, so it is measured; the page is not.
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count") >= 1
    assert (
        Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", http_route="/vitals/metrics") == 0
    )


def test_a_route_that_is_added_while_the_application_serves_takes_its_path() -> None:
    app = FastAPI()
    instrument(app, logs=False)
    assert "app_build_info" in fetch(app, "GET", "/metrics").text
    assert fetch(app, "GET", "/vitals/metrics").status_code == 404
    literal(app)
    assert fetch(app, "GET", "/metrics").status_code == 401
    assert "app_build_info" in fetch(app, "GET", "/vitals/metrics").text


def test_metrics_are_nowhere_if_the_application_names_all_their_paths(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    literal(app)
    app.get("/vitals/{page}")(lambda page: page)
    instrument(app, logs=False)

    async def start() -> None:
        async with LifespanManager(app):
            pass

    asyncio.run(start())
    assert fetch(app, "GET", "/metrics").status_code == 401
    assert fetch(app, "GET", "/vitals/metrics").text == '"metrics"'
    assert "nowhere" in caplog.text


def test_a_chosen_path_is_no_exception() -> None:
    app = FastAPI()
    app.get("/stats")(lambda: "theirs")
    instrument(app, logs=False, metrics_path="/stats")
    assert fetch(app, "GET", "/stats").text == '"theirs"'
    assert "app_build_info" in fetch(app, "GET", "/vitals/metrics").text


@pytest.mark.parametrize("has_file", [False, True])
def test_static_files_take_the_paths_of_their_files(tmp_path: Path, *, has_file: bool) -> None:
    (tmp_path / "index.html").write_text("home")
    if has_file:
        (tmp_path / "metrics").write_text("theirs")
    app = FastAPI()
    instrument(app, logs=False)
    app.mount("/", StaticFiles(directory=tmp_path, html=True))
    assert fetch(app, "GET", "/").text == "home"
    text = fetch(app, "GET", "/metrics").text
    assert text == "theirs" if has_file else "app_build_info" in text


def test_prometheus_clients_own_page_keeps_its_path() -> None:
    app = FastAPI()
    filled = registry()
    app.mount("/metrics", make_asgi_app(filled))
    instrument(app, logs=False, registry=filled)
    response = fetch(app, "GET", "/metrics", follow_redirects=True)
    assert "spend_total 42.0" in response.text
    assert "app_build_info" not in response.text


def test_a_route_class_that_cannot_be_asked_keeps_the_path() -> None:
    class Odd(Route):
        def matches(self, scope: object) -> object:  # type: ignore[override]
            if not isinstance(scope, dict) or "client" not in scope:
                raise LookupError
            return super().matches(scope)

    app = FastAPI()
    app.router.routes.append(Odd("/metrics", lambda _: PlainTextResponse("theirs")))
    instrument(app, logs=False)
    assert fetch(app, "GET", "/metrics").text == "theirs"


def test_the_other_pages_yield_to_routes_of_their_path() -> None:
    app = FastAPI()
    app.get("/vitals/bottlenecks")(lambda: "theirs")
    instrument(app, logs=False, admin="a token that is long enough")
    assert fetch(app, "GET", "/vitals/bottlenecks").text == '"theirs"'
