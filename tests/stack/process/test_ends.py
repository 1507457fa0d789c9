"""What the runner says about a service that ended."""

import pytest

from stack.process.ends import describe_code, describe_seconds


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "code 0"), (7, "code 7"), (-9, "signal SIGKILL"), (-15, "signal SIGTERM")],
)
def test_an_end_is_described_by_its_code_or_the_name_of_its_signal(code: int, text: str) -> None:
    assert describe_code(code) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
