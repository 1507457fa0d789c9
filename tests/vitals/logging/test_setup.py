import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Request

from tests.vitals.client import fetch
from tests.vitals.journal import journal
from vitals import Objective, instrument
from vitals.logging.setup import configure

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def lines() -> Iterator[Any]:
    """Configures logging as a service does; returns a function that reads the lines."""
    with journal() as captured:
        yield lambda: captured.lines


def make() -> FastAPI:
    app = FastAPI()

    @app.post("/broken")
    async def broken(request: Request) -> None:
        await request.body()
        raise LookupError("no such thing")

    @app.get("/late/{item}")
    async def late(item: str) -> str:
        logging.getLogger("library").warning("odd %s", "thing")
        structlog.get_logger("service").info("bought", item=7)
        return item

    @app.get("/quick")
    async def quick() -> str:
        return "quick"

    instrument(
        app,
        service_name="shop",
        objectives=[
            Objective("latency", ratio=0.9, within=60.0),
            Objective("latency", ratio=0.9, within=1e-9, route="/late/{item}"),
        ],
    )
    return app


def test_structlog_and_library_events_are_json_lines(lines: Any) -> None:
    fetch(make(), "GET", "/late/7", headers=TRACEPARENT)
    library, own, slow = lines()
    assert library["event"] == "odd thing"
    assert library["level"] == "warning"
    assert own["item"] == 7
    assert {line["trace_id"] for line in (library, own, slow)} == {TRACE}
    assert {line["service.name"] for line in (library, own, slow)} == {"shop"}
    assert all(line["timestamp"].endswith("Z") for line in (library, own, slow))


def test_a_slow_request_is_logged_with_its_route_template(lines: Any) -> None:
    fetch(make(), "GET", "/late/7?token=hunter2")
    slow = lines()[-1]
    assert slow["event"] == "request slow"
    assert slow["http.route"] == "/late/{item}"
    assert slow["http.response.status_code"] == 200
    assert slow["duration"] > slow["threshold"]


def test_only_failed_requests_are_logged(lines: Any) -> None:
    app = make()
    fetch(app, "GET", "/quick")
    fetch(app, "GET", "/nowhere")
    assert lines() == []
    fetch(app, "POST", "/broken")
    (failed,) = lines()
    assert (failed["event"], failed["error.type"]) == ("request failed", "LookupError")


def test_no_secret_of_a_request_is_logged(lines: Any) -> None:
    app = make()
    secrets = {"authorization": "Bearer hunter2", "cookie": "session=hunter2"}
    fetch(app, "POST", "/broken?password=hunter2", headers=secrets, json={"password": "hunter2"})
    fetch(app, "GET", "/late/hunter2", headers=secrets)
    assert len(lines()) == 4
    assert "hunter2" not in json.dumps(lines())


@pytest.mark.parametrize(
    "header",
    [
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        f"00-{TRACE}-" + "0" * 16 + "-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f'00-{TRACE}-b7ad6b7169203331-01"}}\n',
        f"ff-{TRACE}-b7ad6b7169203331-01",
        "",
    ],
)
def test_an_invalid_trace_id_is_ignored(header: str, lines: Any) -> None:
    fetch(make(), "GET", "/late/7", headers={"traceparent": header.encode()})
    made = lines()[-1]["trace_id"]
    assert made != TRACE
    assert len(made) == 32
    assert int(made, 16)


def test_an_exception_is_logged_without_local_variables(lines: Any) -> None:
    app = FastAPI()

    @app.post("/login")
    async def login(request: Request) -> None:
        api_key = "hunter2"
        body = await request.json()
        try:
            [][len(api_key) + len(body)]
        except LookupError:
            structlog.get_logger("service").exception("no login")
            logging.getLogger("library").exception("no login either")

    instrument(app, logs=False)
    fetch(app, "POST", "/login", json={"password": "hunter2"}, headers={"authorization": "hunter2"})
    own, library = lines()
    assert own["exception"][0]["exc_type"] == library["exception"][0]["exc_type"] == "IndexError"
    assert own["exception"][0]["frames"][-1]["name"] == "login"
    assert "hunter2" not in json.dumps([own, library])


def test_existing_handlers_are_replaced_at_their_level() -> None:
    root = logging.getLogger()
    level, plain = root.level, logging.StreamHandler(io.StringIO())
    root.addHandler(plain)
    root.setLevel(logging.ERROR)
    try:
        with journal() as captured:
            logging.getLogger("library").warning("not wanted")
            logging.getLogger("library").error("wanted")
            assert [line["event"] for line in captured.lines] == ["wanted"]
            assert plain.stream.getvalue() == ""
    finally:
        root.removeHandler(plain)
        root.setLevel(level)


def test_configuring_twice_writes_each_line_once() -> None:
    with journal() as captured:
        configure("again", stream=captured.stream)
        logging.getLogger("library").warning("once")
        assert [line["service.name"] for line in captured.lines] == ["again"]
