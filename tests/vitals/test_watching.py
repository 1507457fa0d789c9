import gc
from functools import lru_cache

import httpx
import pytest
from fastapi import FastAPI

from tests.vitals.cache_probes.measured import lookups
from tests.vitals.http_client.measured import requests_of
from vitals import CacheProbe, instrument, watch
from vitals.metrics.meter import Meter
from vitals.watchers import Watchers

MOCK = httpx.MockTransport(lambda _request: httpx.Response(200))


def test_what_is_watched_before_instrument_and_after_it_is_measured() -> None:
    app = FastAPI()
    with httpx.Client(transport=MOCK) as before, httpx.Client(transport=MOCK) as after:
        assert watch(before) is before
        instrument(app, logs=False)
        watch(after)
        for client in (before, after):
            client.get("http://service.example/")
    assert requests_of(app) == {("GET", "200", ""): 2}


def test_a_shared_client_counts_in_one_application_and_outlives_it() -> None:
    first, second = FastAPI(), FastAPI()
    with watch(httpx.Client(transport=MOCK)) as client:
        instrument(first, logs=False)
        client.get("http://service.example/")
        instrument(second, logs=False)
        client.get("http://service.example/")
        assert requests_of(first) == {("GET", "200", ""): 1}
        assert requests_of(second) == {("GET", "200", ""): 1}, "the newest"
        del second
        gc.collect()
        client.get("http://service.example/")
    assert requests_of(first) == {("GET", "200", ""): 2}


def test_a_probe_of_one_application_measures_for_no_other() -> None:
    @lru_cache
    def double(number: int) -> int:
        return 2 * number

    own, other = FastAPI(), FastAPI()
    instrument(own, logs=False, probes=[CacheProbe(double, cache="doubles")])
    instrument(other, logs=False)
    double(1)
    assert lookups(own, "doubles") == {"miss": 1}
    assert lookups(other, "doubles") == {}


def test_what_cannot_be_watched_is_refused_with_what_can() -> None:
    with pytest.raises(TypeError, match="dict cannot be watched: pass a client of redis-py"):
        watch({})
    with pytest.raises(TypeError, match="dict is no cache that can be measured"):
        CacheProbe({})


class Sealed(httpx.MockTransport):
    """A transport that takes no attributes."""

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        raise AttributeError("sealed")


def test_a_client_that_cannot_be_measured_works_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    instrument(app, logs=False)
    with httpx.Client(transport=Sealed(lambda _request: httpx.Response(204))) as client:
        watch(client)
        assert client.get("http://service.example/").status_code == 204
    assert "what HttpClientProbe should watch is not measured" in caplog.text
    assert requests_of(app) == {}


class Recorder:
    """Records for one application."""

    def __init__(self) -> None:
        self.meter = Meter()


def test_watchers_are_held_weakly() -> None:
    watchers: Watchers[Recorder] = Watchers()
    assert watchers.current() is None
    first, second = Recorder(), Recorder()
    for each in (first, second, first):
        watchers.add(each)
    assert watchers.current() is second
    del second, each
    gc.collect()
    assert watchers.current() is first
    watchers.remove(first)
    assert watchers.current() is None
