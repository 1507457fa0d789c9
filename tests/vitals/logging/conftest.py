"""Logging as in a process of its own, restored afterwards."""

import logging
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
import structlog

from vitals.logging import record_context
from vitals.logging.setup import unconfigure


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
    made = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    loggers = [root, *made]
    before = [(each, dict(vars(each))) for each in loggers]
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
            for name in set(root.manager.loggerDict) - {each.name for each in made}:
                del root.manager.loggerDict[name]
            for logger, attributes in before:
                logger.__dict__.update(attributes)
                logger.setLevel(logger.level)  # forgets which levels are enabled
            logging.setLogRecordFactory(factory)
