"""The queue before the application, by the headers of proxies."""

import math
from time import perf_counter, time

import pytest

from vitals.http.parts.proxy_queue import MAX_QUEUE, queue_seconds

QUEUED = 3.0


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("t={0:.3f}", id="nginx"),
        pytest.param("{0:.6f}", id="seconds"),
        pytest.param("t={1:.0f}", id="milliseconds"),
        pytest.param("{1:.0f}", id="Heroku"),
        pytest.param("t={2:.0f}", id="Apache"),
        pytest.param("t={3:.0f}", id="nanoseconds"),
    ],
)
def test_all_known_forms_are_understood(form: str) -> None:
    at = time() - QUEUED
    value = form.format(at, at * 1e3, at * 1e6, at * 1e9).encode()
    # The machine may pause between the header and the look at the clock.
    assert math.isclose(
        queue_seconds(value, perf_counter()),
        QUEUED,
        abs_tol=2.0,
    )


@pytest.mark.parametrize(
    "value",
    [
        f"t={time() + 3600}",  # the proxy's clock is ahead
        f"t={time() - 2 * MAX_QUEUE - 3600}",  # or far behind
        "",
        "t=",
        "yesterday",
        "1",
        "9" * 200,
        "nan",
        "-1512379167.574",
        "1e400",
        "t=\u0661\u0665\u0661\u0662\u0663\u0667\u0669\u0661\u0666\u0667",
    ],
)
def test_what_is_no_time_or_not_plausible_is_no_queue(value: str) -> None:
    assert queue_seconds(value.encode(), perf_counter()) == 0.0
