"""The viewer's own tests, which need no browser."""

import subprocess
from pathlib import Path

from stack import viewer


def test_the_viewers_own_tests_pass(built: Path) -> None:
    done = subprocess.run(
        ["npm", "test"], cwd=viewer.SOURCES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
