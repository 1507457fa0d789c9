"""Names of mounts, static files and frontends, and of what is unmatched below them."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route

from tests.vitals.client import fetch
from vitals import instrument
from vitals.asgi.route_template import RouteTemplates
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.testing import Readings

HAS_FRONTENDS = hasattr(FastAPI, "frontend")
"""Whether this FastAPI has frontends."""


async def anything(scope: Any, receive: Any, send: Any) -> None:
    """An application of another framework: its routes are unknown."""
    status = 404 if scope["path"].endswith("/nothing") else 200
    await PlainTextResponse("", status)(scope, receive, send)


def add_frontends(*parts: Any, files: Path) -> None:
    for part in parts if HAS_FRONTENDS else ():
        part.frontend("/web", directory=files)


def make(files: Path) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False)
    app.mount("/static", StaticFiles(directory=files))
    app.mount("/other", anything)
    router = APIRouter(prefix="/router")
    add_frontends(app, router, files=files)
    app.include_router(router, prefix="/included")

    inner = FastAPI()
    inner.get("/x/{y}")(lambda y: y)
    add_frontends(inner, files=files)
    app.mount("/inner/{shop}", inner)
    app.mount("/wrapped", GZipMiddleware(inner))
    app.router.routes.append(
        Host("else.where", Starlette(routes=[Route("/there", lambda _: PlainTextResponse(""))]))
    )

    @app.websocket("/socket")
    async def socket(_: WebSocket) -> None:
        raise AssertionError

    return app


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.js").write_text("1")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/static/a/b.js", 200, "/static/{path}"),
        ("/static/nothing", 404, ""),
        ("/other/thing", 200, "/other/{path}"),
        ("/other/nothing", 404, ""),
        ("/web/a/b.js", 200, "/web/{path}"),
        ("/web/nothing", 404, ""),
        ("/included/router/web/a/b.js", 200, "/included/router/web/{path}"),
        ("/inner/anna/x/7", 200, "/inner/{shop}/x/{y}"),
        ("/inner/anna/web/a/b.js", 200, "/inner/{shop}/web/{path}"),
        ("/inner/anna/nothing", 404, ""),
        ("/inner/anna/x/7/", 307, ""),
        ("/wrapped/x/7", 200, "/wrapped/x/{y}"),
        ("/wrapped/nothing", 404, ""),
    ],
)
def test_a_mount_has_a_name_and_what_it_does_not_have_none(
    path: str, status: int, route: str, files: Path
) -> None:
    if "/web/" in path and not HAS_FRONTENDS:
        pytest.skip("this FastAPI has no frontends")
    app = make(files)
    assert fetch(app, "GET", path).status_code == status
    labels = {"http_route": route, "http_response_status_code": str(status)}
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", **labels) == 1


def test_all_templates_of_http_routes_are_known(files: Path) -> None:
    templates = set(RouteTemplates(make(files)).all())
    assert not HAS_FRONTENDS or templates >= {
        "/web/{path}",
        "/included/router/web/{path}",
        "/inner/{shop}/web/{path}",
    }
    assert templates >= {
        "/static/{path}",
        "/inner/{shop}/x/{y}",
        "/wrapped/x/{y}",
        "/there",
    }
    assert "/socket" not in templates


def test_routes_that_an_included_router_gets_later_are_known(files: Path) -> None:
    app, router = FastAPI(), APIRouter()
    routes = RouteTemplates(app)
    app.include_router(router, prefix="/v1")
    assert "/v1/late" not in routes.all()
    router.get("/late")(lambda: 1)
    if fetch(app, "GET", "/v1/late").status_code == 200:  # routers are live since FastAPI 0.137
        assert "/v1/late" in routes.all()
