"""Methods of classes are wrapped only where they are asked for, once, and can be restored."""

import subprocess
import sys
import textwrap

import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.vitals.http_client.dependency import Dependency
from tests.vitals.http_client.measured import application, requests_of
from vitals import HttpClients


def run(script: str) -> str:
    """Run a script in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_nothing_is_imported_or_wrapped_unless_asked_for() -> None:
    script = """
        import sys
        from fastapi import FastAPI
        import vitals
        vitals.instrument(FastAPI(), logs=False)
        import requests.adapters
        before = requests.adapters.HTTPAdapter.send
        app = FastAPI()
        vitals.instrument(app, logs=False)
        assert requests.adapters.HTTPAdapter.send is before
        names = {"httpx", "aiohttp", "redis", "aiocache", "cashews", "fastapi_cache"}
        print(sorted(names & {*sys.modules}))
        vitals.instrument(FastAPI(), logs=False, probes=[vitals.HttpClients()])
        assert requests.adapters.HTTPAdapter.send is not before
        print(sorted(names & {*sys.modules}))
    """
    assert run(script) == "[]\n[]"


def test_a_library_that_is_imported_later_is_measured_from_the_next_scrape_on() -> None:
    script = """
        import sys
        from fastapi import FastAPI
        import vitals
        from vitals.metrics.endpoint import MetricsEndpoint
        app = FastAPI()
        made = vitals.instrument(app, logs=False, probes=[vitals.HttpClients()])
        assert "httpx" not in sys.modules
        import httpx
        before = httpx.HTTPTransport.handle_request
        MetricsEndpoint(made.meter).render(as_openmetrics=True, gzipped=False)
        print(httpx.HTTPTransport.handle_request is before)
    """
    assert run(script) == "False"


@pytest.mark.servers
def test_methods_are_wrapped_once_and_restored_after_the_last_application(
    dependency: Dependency,
) -> None:
    original = HTTPAdapter.send
    first, second = HttpClients(["requests"]), HttpClients(["requests"])
    application(first)
    wrapper = HTTPAdapter.send
    app = application(second)
    assert HTTPAdapter.send is wrapper is not original
    requests.get(f"{dependency.url}/ok", timeout=5)
    assert requests_of(app) == {("GET", "200", ""): 1}
    first.detach()
    assert HTTPAdapter.send is wrapper
    second.detach()
    second.detach()
    assert HTTPAdapter.send is original


@pytest.mark.servers
def test_a_wrapper_of_somebody_elses_stays(
    dependency: Dependency, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application(probe := HttpClients(["requests"]))
    ours, calls = HTTPAdapter.send, []

    def theirs(self: HTTPAdapter, *args: object, **options: object) -> requests.Response:
        calls.append(self)
        return ours(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(HTTPAdapter, "send", theirs)
    probe.detach()
    assert HTTPAdapter.send is theirs
    requests.get(f"{dependency.url}/ok", timeout=5)
    assert len(calls) == 1
    assert requests_of(app) == {}, "nobody measures any more"
    monkeypatch.undo()
    application(again := HttpClients(["requests"]))
    again.detach()


def test_an_unknown_library_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="urllib cannot be measured; known are httpx"):
        HttpClients(["urllib"])
    assert not hasattr(httpx.HTTPTransport.handle_request, "vitals_original")
