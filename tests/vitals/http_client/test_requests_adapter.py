import gc
import pickle
from collections.abc import Iterator

import pytest
import requests
from fastapi import FastAPI
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

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

pytestmark = pytest.mark.servers

OK = ("GET", "200", "")


@pytest.fixture(params=["every session", "one session"])
def app(request: pytest.FixtureRequest) -> Iterator[FastAPI]:
    """An application that measures all sessions, or the one that `session` makes."""
    probe = HttpClients(["requests"])
    made = application(probe) if request.param == "every session" else application()
    made.state.watches_one = request.param == "one session"
    yield made
    probe.detach()


@pytest.fixture
def session(app: FastAPI) -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield watch(made) if app.state.watches_one else made


def test_each_request_counts_by_method_and_status(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    session.get(f"{dependency.url}/ok")
    session.post(f"{dependency.url}/ok")
    session.head(f"{dependency.url}/ok")
    session.get(f"{dependency.url}/empty")
    session.get(f"{dependency.url}/nothing-here")
    session.get(f"{dependency.url}/away/{dependency.port}")
    assert requests_of(app) == {
        OK: 2,
        ("POST", "200", ""): 1,
        ("HEAD", "200", ""): 1,
        ("GET", "204", ""): 1,
        ("GET", "404", "404"): 1,
        ("GET", "307", ""): 1,
    }
    assert len(dependency.seen) == 7
    port = str(dependency.port)
    assert servers_of(app) == {("127.0.0.1", port), ("localhost", port)}
    assert active_in(app) == 0


def test_failures_are_named_by_their_class(
    app: FastAPI, session: requests.Session, dependency: Dependency, cut: Cut
) -> None:
    nobody = f"http://{readiness.LOOPBACK}:{readiness.free_port()}"
    for url in (nobody, f"{dependency.url}/hang", cut.url):
        with pytest.raises(requests.RequestException):
            session.get(url, timeout=0.2)
    with pytest.raises(requests.exceptions.InvalidURL):
        session.get("http://[::1/")
    assert requests_of(app) == {
        ("GET", "", "ConnectionError"): 1,
        ("GET", "", "ReadTimeout"): 1,
        ("GET", "200", "ChunkedEncodingError"): 1,  # the body broke off after its status
    }
    assert active_in(app) == 0


def test_an_error_that_is_handled_meanwhile_is_not_the_requests(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    try:
        int("none")
    except ValueError:
        session.get(f"{dependency.url}/ok")
    assert requests_of(app) == {OK: 1}


def test_attempts_that_urllib3_repeats_count_one_by_one(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    retry = Retry(3, status_forcelist=[503], backoff_factor=0.2)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    if app.state.watches_one:
        watch(session)
    dependency.fails = 2
    session.get(f"{dependency.url}/flaky")
    assert len(dependency.seen) == 3
    assert requests_of(app) == {OK: 1, ("GET", "503", "503"): 2}
    assert seconds_of(app) < 0.4, "the pause between attempts, 0.4 s, is none of their time"
    dependency.fails = 10
    with pytest.raises(requests.exceptions.RetryError):
        session.get(f"{dependency.url}/flaky")
    assert len(dependency.seen) == 7
    assert requests_of(app)["GET", "503", "503"] == 5
    assert requests_of(app)["GET", "503", "RetryError"] == 1, "the last one, as the host sees it"
    nobody = f"http://{readiness.LOOPBACK}:{readiness.free_port()}"
    with pytest.raises(requests.ConnectionError):
        session.get(nobody)
    assert requests_of(app)["GET", "", "NewConnectionError"] == 3
    assert requests_of(app)["GET", "", "ConnectionError"] == 1
    assert active_in(app) == 0


def test_the_time_is_up_to_the_last_byte_but_of_an_event_stream(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    session.get(f"{dependency.url}/events")
    first = seconds_of(app)
    assert first < 2 * HELD
    session.get(f"{dependency.url}/parts")
    assert seconds_of(app) - first >= 2 * HELD
    assert requests_of(app) == {OK: 2}


def test_a_stream_counts_when_it_is_read_closed_or_dropped(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    with session.get(f"{dependency.url}/endless", stream=True) as response:
        next(response.iter_content(10))
        assert active_in(app) == 1
    assert requests_of(app) == {OK: 1}
    response = session.get(f"{dependency.url}/parts", stream=True)
    assert [*response.iter_lines()]
    assert requests_of(app) == {OK: 2}
    response = session.get(f"{dependency.url}/endless", stream=True)
    assert response.raw.read(5) == b"data:"
    assert requests_of(app) == {OK: 2}
    del response
    assert requests_of(app) == {OK: 3}, "freed at once: measuring makes no cycle"
    gc.collect()
    assert active_in(app) == 0


def test_a_response_can_still_be_pickled(
    app: FastAPI, session: requests.Session, dependency: Dependency
) -> None:
    response = session.get(f"{dependency.url}/ok")
    assert pickle.loads(pickle.dumps(response)).json() == {"number": 1}  # noqa: S301  # our own
    assert requests_of(app) == {OK: 1}
    assert pickle.dumps(session)
