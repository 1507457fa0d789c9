"""Refuses interpreters in which the kit would count wrong."""

import importlib
import sys


def refuse_subinterpreter() -> None:
    """Refuse to be imported into a subinterpreter.

    Raises:
        ImportError: This is one: workers are identified by their process.
    """
    for name in ("_interpreters", "_xxsubinterpreters"):  # since Python 3.13, before
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        if _number(interpreters.get_current()) != _number(interpreters.get_main()):
            raise ImportError(
                "Vitals does not work in a subinterpreter, because it tells workers apart by their "
                "process: serve the application in processes (--workers), or in the main "
                "interpreter"
            )
        return


def refuse_free_threading() -> None:
    """Refuse to count without the GIL.

    Raises:
        RuntimeError: There is none: counts of threads would be lost.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise RuntimeError(
            "Vitals counts without locks, which needs the GIL: start this free-threaded Python "
            "with PYTHON_GIL=1 or -X gil=1, or use another build"
        )


def _number(interpreter: object) -> object:
    """The id of an interpreter; Python 3.13 adds how it came to be."""
    return interpreter[0] if isinstance(interpreter, tuple) else interpreter
