"""Imports all modules of the kit into a process that a host has set up, and prints what changed."""

import asyncio
import atexit
import gc
import importlib
import json
import logging
import os
import pkgutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any

import fastapi
import prometheus_client
import pytest
import starlette.applications
import starlette.middleware.errors
import starlette.routing
import structlog
import uvicorn
from opentelemetry import context, metrics, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sqlalchemy import Engine, create_engine, event, pool
from sqlalchemy.event import registry
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

HOST: tuple[Any, ...] = (fastapi, starlette.applications, starlette.middleware.errors)
HOST += (starlette.routing, uvicorn, sqlalchemy_asyncio, pytest)
HOST += (FastAPIInstrumentor, OTLPSpanExporter, BatchSpanProcessor)
"""What the host has imported before: such imports change the process themselves."""


def set_up() -> Any:
    """Set up what a host would."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    logging.root.handlers[0].addFilter(lambda record: record.levelno > logging.ERROR)
    logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="of the host")
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    structlog.contextvars.bind_contextvars(host="shop")
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    engine = create_engine("sqlite://")
    event.listen(engine, "before_cursor_execute", print)
    event.listen(Engine, "connect", print)
    event.listen(pool.Pool, "checkout", print)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return engine


def state() -> dict[str, Any]:
    """What an import could change for the process."""
    return {
        "loggers": dict(sorted(_loggers())),
        "logging": _ids(
            logging.getLogRecordFactory(), logging.getLoggerClass(), logging.lastResort
        ),
        "logging disabled up to": logging.root.manager.disable,
        "warnings": [str(each) for each in warnings.filters],
        "structlog": repr(structlog.get_config()),
        "structlog context": repr(structlog.contextvars.get_contextvars()),
        "providers": _ids(trace.get_tracer_provider(), metrics.get_meter_provider()),
        "propagators": _ids(propagate.get_global_textmap(), context.get_current()),
        "SQLAlchemy events": sorted(map(str, registry._key_to_collection)),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "signals": {str(each): _id(signal.getsignal(each)) for each in signal.valid_signals()},
        "hooks": _ids(sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "tracing": _ids(sys.gettrace(), sys.getprofile(), threading.gettrace()),
        "import": _ids(*sys.meta_path, *sys.path_hooks),
        "path": list(sys.path),
        "garbage collector": [*map(_id, gc.callbacks), gc.get_threshold(), gc.isenabled()],
        "exit functions": atexit._ncallbacks(),
        "event loop policy": _id(asyncio.events._event_loop_policy),  # type: ignore[attr-defined]
        "environment": dict(os.environ),
        "registry": sorted(map(str, prometheus_client.REGISTRY._names_to_collectors)),
        "files": sorted(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), socket.getdefaulttimeout()],
        "umask": _umask(),
    }


def attributes() -> dict[str, int]:
    """The identity of each function and class of every module of others, and of their methods."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"vitals", "__main__"} or not isinstance(module, ModuleType):
            continue
        found[name] = id(module)
        for key, value in list(vars(module).items()):
            if isinstance(value, FunctionType | type):
                found[f"{name}.{key}"] = id(value)
            if isinstance(value, type):
                for method, function in list(vars(value).items()):
                    if callable(function):
                        found[f"{name}.{key}.{method}"] = id(function)
    return found


def _loggers() -> Iterator[tuple[str, Any]]:
    for name, logger in [("", logging.root), *logging.root.manager.loggerDict.items()]:
        if isinstance(logger, logging.Logger):
            filters = [_id(each) for handler in logger.handlers for each in handler.filters]
            handlers = [[_id(each), _id(each.formatter), each.level] for each in logger.handlers]
            found = [logger.level, logger.propagate, logger.disabled, _ids(*logger.filters)]
            # A logger that nothing is set of is the same as one that was never asked for.
            if [*found, handlers] != [logging.NOTSET, True, False, [], []]:
                yield name, [*found, handlers, filters]


def _ids(*objects: object) -> list[str]:
    return [_id(each) for each in objects]


def _id(each: object) -> str:
    return f"{type(each).__name__} {id(each)}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def import_kit() -> list[str]:
    """Import every module of the kit that is installed whole; their names."""
    vitals = importlib.import_module("vitals")
    names = [module.name for module in pkgutil.walk_packages(vitals.__path__, "vitals.")]
    if find_spec("redis") is None:
        names = [name for name in names if not name.startswith("vitals.cache.")]
    for name in names:
        importlib.import_module(name)
    for name in vitals.__all__:
        getattr(vitals, name)
    return names


if __name__ == "__main__":
    engine = set_up()
    before, owned = state(), attributes()
    names = import_kit()
    after, owned_after = state(), attributes()
    changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    patched = [key for key, identity in owned.items() if owned_after.get(key) != identity]
    json.dump({"modules": len(names), "changed": changed, "patched": patched}, sys.stdout)
