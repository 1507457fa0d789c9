"""The kit's pytest fixture, as its users import it, and what every test of the kit needs."""

from importlib.util import find_spec

import pytest

from vitals.testing import queries

__all__ = ["anyio_backend", "queries"]

# google-re2 has no wheel for the newest Python yet, so `checks.matrix` tests the kit's core there:
# what the extras bring needs it.
collect_ignore = (
    [
        *("body", "cache", "db", "logging", "redaction", "tracing"),
        *("test_garbage.py", "test_import.py", "test_leaks.py", "test_message_redaction.py"),
        "test_log_events.py",
    ]
    if find_spec("re2") is None
    else []
)
if find_spec("redis") is None:  # the lowest versions of the other extras
    collect_ignore += ["cache", "cache_probes"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
