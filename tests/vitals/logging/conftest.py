"""Logging as in a process of its own, restored afterwards."""

import logging
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from vitals.logging import record_context
from vitals.logging.setup import unconfigure

DEFAULTS: dict[str, Any] = {"level": logging.NOTSET, "propagate": True, "disabled": False}
STATE = ("handlers", "filters", *DEFAULTS)


@pytest.fixture
def bare_logging() -> logging.Logger:
    """The root logger, on which nothing is set up; pytest's handlers are not seen."""
    return logging.getLogger()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Remove pytest's handlers, which it adds just before the call."""
    if "bare_logging" not in getattr(item, "fixturenames", ()):
        return (yield)
    with _bare():
        return (yield)


@contextmanager
def _bare() -> Iterator[None]:
    root = logging.getLogger()
    loggers = _loggers()
    before = [{name: vars(each)[name] for name in STATE} for each in loggers]
    factory = logging.getLogRecordFactory()
    with pytest.MonkeyPatch.context() as patched:
        # ``logging.config`` closes all handlers.
        patched.setattr(logging, "_handlers", weakref.WeakValueDictionary())
        patched.setattr(logging, "_handlerList", [])
        for logger in loggers:
            logger.handlers, logger.filters, logger.disabled = [], [], False
            logger.setLevel(logging.NOTSET)
        root.setLevel(logging.WARNING)
        record_context.uninstall()
        structlog.reset_defaults()
        try:
            yield
        finally:
            unconfigure()
            logging.captureWarnings(False)
            structlog.reset_defaults()
            for logger in _loggers():  # those made meanwhile are reset: others may be below them
                known = loggers.index(logger) if logger in loggers else None
                new = {"handlers": [], "filters": [], **DEFAULTS}
                state = new if known is None else before[known]
                vars(logger).update(state)
                logger.setLevel(state["level"])  # forgets which levels are enabled
            logging.setLogRecordFactory(factory)


def _loggers() -> list[logging.Logger]:
    made = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in made if isinstance(each, logging.Logger))]
