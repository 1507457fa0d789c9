import asyncio

import pytest
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.types import Message

from tests.vitals.client import converse, fetch, http_scope
from vitals import instrument
from vitals.asgi.root_path import below_root
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.testing import Readings


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/metrics", "", "/metrics"),
        ("/metrics", "/", "/metrics"),
        ("/metrics", "/m", "/metrics"),
        ("/m/metrics", "/m", "/metrics"),
        ("/m/metrics", "/m/", "/metrics"),
        ("/mm/metrics", "/m", "/mm/metrics"),
        ("/m", "/m", ""),
        ("/a/b/metrics", "/a/b", "/metrics"),
    ],
)
def test_a_path_is_below_a_root_that_ends_at_a_slash(path: str, root: str, below: str) -> None:
    assert below_root(path, root) == below


CUTS_WORDS = get_route_path({"path": "/metric", "root_path": "/m"}) != "/metric"
"""Whether this Starlette, before 0.39, takes ``/m`` for a root of ``/metric``."""


def make(root_path: str = "") -> FastAPI:
    app = FastAPI()
    app.root_path = root_path
    instrument(app, logs=False)

    @app.get("/metric/{x}")
    async def metric(x: str) -> str:
        return x

    return app


def get(app: FastAPI, path: str, root: str) -> int:
    scope = http_scope("GET", path) | {"root_path": root}
    request: list[Message] = [{"type": "http.request"}]
    status: int = asyncio.run(converse(app, scope, request, leave=bool))[0]["status"]
    return status


@pytest.mark.parametrize("root", ["/", "/m", "/met", "/m/", "/a/b"])
@pytest.mark.parametrize("given_by", ["server", "application"])
@pytest.mark.parametrize("strips", [True, False])
def test_metrics_are_found_below_a_root_path(root: str, given_by: str, *, strips: bool) -> None:
    """Of the server's ``--root-path`` or of the application, whatever a proxy strips."""
    app = make(root if given_by == "application" else "")
    prefix = "" if strips else root.rstrip("/")
    server_root = root if given_by == "server" else ""
    assert get(app, f"{prefix}/metrics", server_root) == 200
    if CUTS_WORDS and strips and "/metric".startswith(root.rstrip("/") or "/none"):
        pytest.skip("this Starlette does not find the application's own route")
    app.root_path = app.root_path.rstrip("/")  # with a slash, no route of the application is found
    assert get(app, f"{prefix}/metric/7", root.rstrip("/")) == 200
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", http_route="/metric/{x}") == 1
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count") == 1


@pytest.mark.parametrize("at", ["/m", "/api/v1"])
def test_metrics_of_a_mounted_application_are_found_below_its_mount(at: str) -> None:
    app, outer = make(), FastAPI()
    outer.mount(at, app)
    assert "app_build_info" in fetch(outer, "GET", f"{at}/metrics").text
    assert fetch(outer, "GET", f"{at}/metric/7").text == '"7"'
    assert fetch(outer, "GET", "/metrics").status_code == 404
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", http_route="/metric/{x}") == 1
