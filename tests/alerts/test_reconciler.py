"""Restarts and inhibition swallow no alert and no end: real Prometheus and Alertmanager."""

from collections.abc import Iterator
from contextlib import ExitStack
from math import inf

import pytest

from alerts.reconciler import Firing, Labels, ended_alerts
from tests.alerts.watching import Watch

POOL, LAG, DOWN, ONE_DOWN = "DBPoolSaturated", "EventLoopLagHigh", "TargetDown", "InstanceDown"
SLOW = "ScrapeSlow"


@pytest.fixture
def watch(every_suite: str) -> Iterator[Watch]:
    with ExitStack() as started:
        yield Watch(started)


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("every_suite", ["installed", "sid"], indirect=True)
def test_no_firing_is_swallowed_and_no_end_is_invented(watch: Watch) -> None:
    watch.begin(LAG)
    # A ticket is notified, its cause then holds it back, as it does another one from its start;
    # both end, Prometheus forgets these ends, and the cause ends.
    watch.begin(ONE_DOWN)
    watch.wait(lambda: watch.was_notified(ONE_DOWN, "firing") and watch.was_notified(LAG, "firing"))
    watch.begin(DOWN)
    watch.wait(lambda: watch.was_notified(DOWN, "firing"))
    watch.begin(SLOW)
    watch.wait(lambda: watch.is_firing(SLOW))
    watch.end(SLOW)
    watch.end(ONE_DOWN)
    watch.wait(lambda: not watch.is_firing(ONE_DOWN) and not watch.is_firing(SLOW))
    watch.prometheus.stop()
    watch.prometheus.start()
    watch.wait(lambda: watch.is_firing(DOWN))
    assert not watch.was_notified(ONE_DOWN, "resolved")
    watch.end(DOWN)
    watch.wait(lambda: watch.was_notified(ONE_DOWN, "resolved"))

    # An alert fires, all stop, its fault ends, all start, it fires again.
    watch.begin(POOL)
    watch.wait(lambda: watch.was_notified(POOL, "firing"))
    watch.stop()
    watch.end(POOL)
    watch.start()
    watch.wait(lambda: watch.was_notified(POOL, "resolved"))
    watch.begin(POOL)
    watch.wait(lambda: watch.times_told(POOL, "firing") == 2)

    # Of one that went on all the time there was one notification, and none of an end.
    assert watch.is_firing(LAG)
    assert watch.times_told(LAG, "firing") == 1
    assert not watch.was_notified(LAG, "resolved")
    assert not [notified for notified in watch.notified if notified.alert == SLOW], (
        "held back all the time"
    )


STOP = 1000.0
FIRED = Firing(begun=500, last=STOP)


def alert(name: str, instance: str = "a") -> Labels:
    return frozenset({"alertname": name, "instance": instance, "job": "api"}.items())


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (None, True),
        (Firing(begun=1100, last=inf), False),  # it fires again
        (Firing(begun=500, last=0), False),  # pending with its old time: restored
        (Firing(begun=1100, last=0), True),  # pending anew
    ],
)
def test_ended_is_what_fired_and_does_not_go_on(now: Firing | None, *, ended: bool) -> None:
    active = {alert(POOL): now} if now else {}
    found = ended_alerts({alert(POOL): FIRED}, active, STOP)
    assert (alert(POOL) in found) is ended


@pytest.mark.parametrize(("last", "ended"), [(STOP, True), (STOP - 600, False)])
def test_a_group_that_fires_is_told_only_of_ends_that_the_stop_hid(
    last: float, *, ended: bool
) -> None:
    """Of any other end of its group there was a notification, and would be another."""
    fired = {alert(POOL): Firing(500, last), alert(POOL, "b"): Firing(500, STOP)}
    active = {alert(POOL, "b"): Firing(500, inf)}
    assert (alert(POOL) in ended_alerts(fired, active, STOP)) is ended
