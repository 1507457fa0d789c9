"""From a service to its issues: what the kit sees of an error is what the issue tracker keeps."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request

from stack.issues import issue_views
from tests.stack.issues.reporting import Tracker
from tests.stack.store.storing import Store, storing
from vitals import instrument
from vitals.errors import counter
from vitals.logging import record_context

pytestmark = pytest.mark.servers
SECRET = "hunter2xQ9vTzz71"
log = logging.getLogger("shop")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


def service(store: Store) -> FastAPI:
    app = FastAPI(version="3.1.4")
    instrument(app, service_name="shop", otlp_endpoint=f"http://127.0.0.1:{store.port}")

    @app.get("/raises/{number}")
    def raises(number: int, request: Request) -> None:
        password = request.headers["X-Password"]
        raise ValueError(f"login {number} failed: password={password} at {request.url}")

    @app.get("/unavailable")
    def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/logs")
    def logs() -> None:
        try:
            raises.__wrapped__  # type: ignore[attr-defined]  # noqa: B018
        except AttributeError:
            log.exception("token=%s was refused", SECRET)

    def fail() -> None:
        raise KeyError(SECRET)

    @app.get("/task")
    def task(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)

    return app


def serve(app: FastAPI, paths: list[str]) -> None:
    async def run() -> None:
        async with LifespanManager(app) as manager:
            transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                for path in paths:
                    await client.get(path, headers={"X-Password": SECRET}, params={"token": SECRET})

    asyncio.run(run())


@pytest.fixture
def found(store: Store, tmp_path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """The issues of a service that failed in each way, by their routes."""
    counter._counters.clear()
    tracker = Tracker(store, tmp_path / "issues.sqlite3")
    tracker.collect()
    paths = ["/unavailable", "/logs", "/task", "/raises/1", "/raises/2"]
    serve(service(store), [path for path in paths for _ in range(3)])
    tracker.collect()
    listed = issue_views.listed(tracker.issues, {}, tracker.now)["issues"]
    shown = (issue_views.shown(tracker.issues, each["fingerprint"], tracker.now) for each in listed)
    tracker.issues.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield {each["route"]: each for each in shown if each is not None}
    tracker.issues.close()
    record_context.uninstall()


def test_each_way_to_fail_is_one_issue_with_its_stack(
    found: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    assert {route: each["count"] for route, each in found.items()} == {
        "/raises/{number}": 6,
        "/unavailable": 3,
        "/logs": 3,
        "/task": 3,
    }
    for each in found.values():
        assert each["service"] == "shop"
        assert each["last_release"] == "3.1.4"
        assert each["examples"]
        own = [frame for frame in each["frames"] if frame["own"]]
        assert own[-1]["file"] == __file__
    assert found["/raises/{number}"]["type"].endswith("ValueError")
    assert found["/raises/{number}"]["place"].endswith(":service.<locals>.raises")
    assert found["/raises/{number}"]["frames"][-1]["source"].startswith("raise ValueError(")
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("issues*"))
    assert SECRET.encode() not in kept
    assert b"raises" in kept
