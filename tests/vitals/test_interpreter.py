import importlib.util
import subprocess
import sys

import pytest
from fastapi import FastAPI

from vitals import instrument

INTERPRETERS = next(
    name for name in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(name)
)
IN_A_SUBINTERPRETER = f"""
import sys
import {INTERPRETERS} as interpreters
code = f"import sys; sys.path[:] = {{sys.path!r}}; import vitals"
try:
    failed = interpreters.run_string(interpreters.create(), code)
except interpreters.RunFailedError as error:
    failed = error
print(getattr(failed, "formatted", failed))
"""


def test_a_subinterpreter_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_SUBINTERPRETER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError" in done.stdout, done.stderr
    assert "Vitals does not work in a subinterpreter" in done.stdout


def test_python_without_the_gil_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    app = FastAPI()
    with pytest.raises(RuntimeError, match=r"needs the GIL: start .* with PYTHON_GIL=1"):
        instrument(app)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    instrument(app, logs=False)
