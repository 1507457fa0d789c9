"""The restart policy: growing waits, and a limit of restarts."""

from stack.process.restart_policy import MAX_RESTARTS, WINDOW, RestartPolicy


def test_the_wait_doubles_up_to_a_minute_and_shrinks_after_a_steady_minute() -> None:
    policy = RestartPolicy()
    waits = [policy.plan(1000.0 * count, 0.0) - 1000.0 * count for count in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert policy.plan(9000.0, 59.0) == 9060.0
    assert policy.plan(9200.0, 60.0) == 9201.0
    assert policy.plan(9300.0, 1.0) == 9302.0


def test_no_service_is_restarted_more_than_ten_times_in_ten_minutes() -> None:
    """Also one that always ends just after it was ready for long enough to wait little."""
    policy, now, restarts = RestartPolicy(), 0.0, list[float]()
    for _ in range(100):
        now = policy.plan(now, 60.0)
        restarts.append(now)
        now += 0.5
    for first, later in zip(restarts, restarts[MAX_RESTARTS:], strict=False):
        assert later - first >= WINDOW
