import pytest
from fastapi import FastAPI

from vitals import instrument
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_BUS_CONNECTED,
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_L1_BYTES,
    CACHE_LOAD_DURATION,
    CACHE_OPERATION_DURATION,
    CACHE_OPERATION_ERRORS,
    CACHE_REQUESTS,
)
from vitals.testing import Readings


def test_cache_operations_are_recorded() -> None:
    app = FastAPI()
    report = instrument(app, logs=False).cache("products")
    report.request("l2", "hit", 3)
    report.request("l1", "negative")
    with report.operation("get"):
        pass
    with pytest.raises(ConnectionError), report.operation("set"):
        raise ConnectionError
    with report.load():
        pass
    report.fill_rejected()
    report.invalidation("queued")
    report.breaker(open_=True)
    report.l1_bytes(512)
    report.bus_connected(connected=False)

    readings = Readings.of(app)
    assert readings.value(CACHE_REQUESTS, cache="products", layer="l2", result="hit") == 3
    assert readings.value(CACHE_REQUESTS, layer="l1", result="negative") == 1
    assert readings.value(CACHE_OPERATION_DURATION, "_count", operation="get") == 1
    assert readings.value(CACHE_OPERATION_DURATION, "_count", operation="set") == 1
    (failed,) = readings.series(CACHE_OPERATION_ERRORS)
    assert failed == {"cache": "products", "operation": "set", "error_type": "ConnectionError"}
    assert readings.value(CACHE_LOAD_DURATION, "_count") == 1
    assert readings.value(CACHE_FILLS_REJECTED) == 1
    assert readings.value(CACHE_INVALIDATIONS, outcome="queued") == 1
    assert readings.value(CACHE_BREAKER_OPEN) == 1
    assert readings.value(CACHE_L1_BYTES) == 512
    assert readings.series(CACHE_BUS_CONNECTED) == [{"cache": "products"}]


def test_hit_and_miss_series_exist_before_the_first_lookup() -> None:
    app = FastAPI()
    instrument(app, logs=False).cache("products")
    assert {s["result"] for s in Readings.of(app).series(CACHE_REQUESTS)} == {"hit", "miss"}
