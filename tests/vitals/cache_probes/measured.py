"""What was recorded of a cache."""

from fastapi import FastAPI

from vitals import instrument
from vitals.metrics.catalogue import (
    CACHE_OPERATION_DURATION,
    CACHE_OPERATION_ERRORS,
    CACHE_REQUESTS,
    DROPPED,
)
from vitals.testing import Readings


def application() -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False)
    return app


def lookups(app: FastAPI, cache: str) -> dict[str, float]:
    """The lookups of a cache by result, those that happened."""
    readings = Readings.of(app)
    counted = {
        labels["result"]: readings.value(CACHE_REQUESTS, **labels)
        for labels in readings.series(CACHE_REQUESTS)
        if labels["cache"] == cache
    }
    assert readings.value(DROPPED, reason="cache_probe") == 0
    return {result: number for result, number in counted.items() if number}


def layers(app: FastAPI, cache: str) -> set[str]:
    """The layers in which a cache has series."""
    series = Readings.of(app).series(CACHE_REQUESTS)
    return {labels["layer"] for labels in series if labels["cache"] == cache}


def operations(app: FastAPI, cache: str) -> dict[str, float]:
    """How many operations a cache was asked for, by name."""
    readings = Readings.of(app)
    return {
        labels["operation"]: readings.value(CACHE_OPERATION_DURATION, "_count", **labels)
        for labels in readings.series(CACHE_OPERATION_DURATION)
        if labels["cache"] == cache
    }


def errors(app: FastAPI, cache: str) -> dict[tuple[str, str], float]:
    """The failures of a cache by operation and error type."""
    readings = Readings.of(app)
    return {
        (labels["operation"], labels["error_type"]): readings.value(
            CACHE_OPERATION_ERRORS, **labels
        )
        for labels in readings.series(CACHE_OPERATION_ERRORS)
        if labels["cache"] == cache
    }


def label_values(app: FastAPI) -> str:
    """All values of all labels, to look for what must not be among them."""
    return "\n".join(
        value for sample in Readings.of(app).samples for value in sample.labels.values()
    )
