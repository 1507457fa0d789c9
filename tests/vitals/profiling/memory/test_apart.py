"""Tests of memory, each file in a new process.

What other tests have left in a process is more than what grows: its modules hold thousands of
containers, and its freed memory is used again, so that the process does not grow.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vitals.profiling.memory.conftest import APART, NEED_A_NEW_PROCESS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NEED_A_NEW_PROCESS)
def test_in_a_process_of_its_own(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    tested = subprocess.run(
        [*command, str(Path(__file__).with_name(name))],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={
            **{key: os.environ[key] for key in os.environ if not key.startswith("PYTEST_")},
            APART: "1",
        },
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " passed" in tested.stdout
