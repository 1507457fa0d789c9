import asyncio
import gc
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from stack import readiness
from tests.vitals.http_client.dependency import HELD, Cut, Dependency
from tests.vitals.http_client.measured import (
    active_in,
    application,
    requests_of,
    seconds_of,
    servers_of,
)
from vitals import HttpClients, watch
from vitals.testing import Readings

pytestmark = pytest.mark.servers

OK = ("GET", "200", "")


@pytest.fixture(params=["every client", "one client"])
def app(request: pytest.FixtureRequest) -> Iterator[FastAPI]:
    """An application that measures all clients, or the one that `client` makes."""
    probe = HttpClients(["httpx"])
    made = application(probe) if request.param == "every client" else application()
    made.state.watches_one = request.param == "one client"
    yield made
    probe.detach()


def client(app: FastAPI, timeout: float = 5.0) -> httpx.Client:
    made = httpx.Client(timeout=timeout)
    return watch(made) if app.state.watches_one else made


def async_client(app: FastAPI, timeout: float = 5.0) -> httpx.AsyncClient:
    made = httpx.AsyncClient(timeout=timeout)
    return watch(made) if app.state.watches_one else made


def test_each_request_counts_by_method_and_status(app: FastAPI, dependency: Dependency) -> None:
    with client(app) as http:
        http.get(f"{dependency.url}/ok")
        http.post(f"{dependency.url}/ok")
        http.head(f"{dependency.url}/ok")
        http.get(f"{dependency.url}/empty")
        http.get(f"{dependency.url}/nothing-here")
        http.request("PURGE", f"{dependency.url}/ok")
    assert requests_of(app) == {
        OK: 1,
        ("POST", "200", ""): 1,
        ("HEAD", "200", ""): 1,
        ("GET", "204", ""): 1,
        ("GET", "404", "404"): 1,
        ("_OTHER", "405", "405"): 1,
    }
    assert len(dependency.seen) == 6
    assert active_in(app) == 0


def test_an_async_client_counts_the_same(app: FastAPI, dependency: Dependency) -> None:
    async def run() -> None:
        async with async_client(app) as http:
            await asyncio.gather(*(http.get(f"{dependency.url}/ok") for _ in range(20)))
            await http.get(f"{dependency.url}/redirect", follow_redirects=True)

    asyncio.run(run())
    assert requests_of(app) == {OK: 21, ("GET", "307", ""): 1}
    assert len(dependency.seen) == 22
    assert active_in(app) == 0


def test_every_redirect_counts_where_it_is_sent(app: FastAPI, dependency: Dependency) -> None:
    with client(app) as http:
        http.get(f"{dependency.url}/away/{dependency.port}", follow_redirects=True)
    assert requests_of(app) == {OK: 1, ("GET", "307", ""): 1}
    port = str(dependency.port)
    assert servers_of(app) == {("127.0.0.1", port), ("localhost", port)}


def test_failures_are_named_by_their_class(app: FastAPI, dependency: Dependency, cut: Cut) -> None:
    nobody = f"http://{readiness.LOOPBACK}:{readiness.free_port()}"
    with client(app, timeout=0.2) as http:
        for url in (nobody, f"{dependency.url}/hang", cut.url):
            with pytest.raises(httpx.TransportError):
                http.get(url)
    assert requests_of(app) == {
        ("GET", "", "ConnectError"): 1,
        ("GET", "", "ReadTimeout"): 1,
        ("GET", "200", "RemoteProtocolError"): 1,  # the body broke off after its status
    }
    assert active_in(app) == 0


def test_failures_of_an_async_client_too(app: FastAPI, dependency: Dependency, cut: Cut) -> None:
    async def run() -> None:
        async with async_client(app, timeout=0.2) as http:
            for url in (f"{dependency.url}/hang", cut.url):
                with pytest.raises(httpx.TransportError):
                    await http.get(url)

    asyncio.run(run())
    assert requests_of(app) == {
        ("GET", "", "ReadTimeout"): 1,
        ("GET", "200", "RemoteProtocolError"): 1,
    }


@pytest.mark.parametrize("path", ["/hang", "/endless"])
def test_a_cancelled_call_counts_as_cancelled(
    app: FastAPI, dependency: Dependency, path: str
) -> None:
    async def run() -> None:
        async with async_client(app) as http:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(http.get(f"{dependency.url}{path}"), 2 * HELD)

    asyncio.run(run())
    status = "" if path == "/hang" else "200"
    assert requests_of(app) == {("GET", status, "CancelledError"): 1}
    assert active_in(app) == 0


def test_the_time_is_up_to_the_last_byte(app: FastAPI, dependency: Dependency) -> None:
    with client(app) as http:
        http.get(f"{dependency.url}/parts")
    assert requests_of(app) == {OK: 1}
    assert seconds_of(app) >= 2 * HELD


def test_of_an_event_stream_it_is_up_to_the_first(app: FastAPI, dependency: Dependency) -> None:
    with client(app) as http, http.stream("GET", f"{dependency.url}/events") as response:
        parts = response.iter_raw()
        next(parts)
        assert active_in(app) == 1
        assert requests_of(app) == {}
        assert len(b"".join(parts)) >= 2
    assert requests_of(app) == {OK: 1}
    assert seconds_of(app) < 2 * HELD, "however long it stayed open"
    assert active_in(app) == 0


def test_a_stream_that_is_given_up_counts_once(app: FastAPI, dependency: Dependency) -> None:
    with client(app) as http:
        with http.stream("GET", f"{dependency.url}/endless") as response:
            next(response.iter_raw())
        assert requests_of(app) == {OK: 1}
        response = http.send(http.build_request("GET", f"{dependency.url}/endless"), stream=True)
        assert active_in(app) == 1
        del response
        gc.collect()
        assert requests_of(app) == {OK: 2}, "a response that nobody closed"
    assert active_in(app) == 0


def test_a_mock_counts_only_where_its_client_is_watched() -> None:
    app = application(probe := HttpClients(["httpx"]))
    mock = httpx.MockTransport(lambda _request: httpx.Response(418, text="short and stout"))
    with httpx.Client(transport=mock) as http:
        http.get("http://teapot/")
        assert requests_of(app) == {}
        assert watch(http).get("http://teapot/").text == "short and stout"
    assert requests_of(app) == {("GET", "418", "418"): 1}
    assert servers_of(app) == {("teapot", "80")}
    probe.detach()


def test_a_watched_client_is_counted_once_among_all(dependency: Dependency) -> None:
    app = application(probe := HttpClients(["httpx"]))
    with watch(watch(httpx.Client())) as http:
        http.get(f"{dependency.url}/ok")
    assert requests_of(app) == {OK: 1}
    probe.detach()


def test_no_part_of_a_url_but_its_server_is_recorded(app: FastAPI, dependency: Dependency) -> None:
    url = f"http://alice:s3cret@{readiness.LOOPBACK}:{dependency.port}/ok?token=t0ken#f"
    with client(app) as http:
        http.get(url)
    page = str(Readings.of(app).samples)
    assert not [word for word in ("alice", "s3cret", "t0ken", "/ok") if word in page]
