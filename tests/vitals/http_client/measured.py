"""What was recorded of outgoing requests."""

from collections import Counter

from fastapi import FastAPI

from vitals import Probe, instrument
from vitals.metrics.catalogue import (
    HTTP_CLIENT_ACTIVE_REQUESTS,
    HTTP_CLIENT_REQUEST_DURATION,
    ClientRequestLabels,
)
from vitals.testing import Readings


def application(*probes: Probe) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False, probes=probes)
    return app


def requests_of(app: FastAPI) -> Counter[tuple[str, str, str]]:
    """How many requests were recorded, by method, status and error type."""
    readings = Readings.of(app)
    counted: Counter[tuple[str, str, str]] = Counter()
    for labels in readings.series(HTTP_CLIENT_REQUEST_DURATION):
        key = ClientRequestLabels(**labels)
        number = readings.value(HTTP_CLIENT_REQUEST_DURATION, "_count", **labels)
        counted[key.http_request_method, key.http_response_status_code, key.error_type] += int(
            number
        )
    return counted


def servers_of(app: FastAPI) -> set[tuple[str, str]]:
    """The servers that requests were recorded for."""
    return {
        (labels["server_address"], labels["server_port"])
        for labels in Readings.of(app).series(HTTP_CLIENT_REQUEST_DURATION)
    }


def seconds_of(app: FastAPI) -> float:
    """What all requests took together."""
    return Readings.of(app).value(HTTP_CLIENT_REQUEST_DURATION, "_sum")


def active_in(app: FastAPI) -> float:
    """Requests in progress."""
    return Readings.of(app).value(HTTP_CLIENT_ACTIVE_REQUESTS)
