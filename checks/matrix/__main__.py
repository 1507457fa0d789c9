"""Runs the kit's tests on the lowest, the locked and the newest versions, and on each Python.

``python -m checks.matrix`` runs all; ``python -m checks.matrix oldest --quick`` is what `make test`
adds to the locked versions, which all other tests run on.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from checks.files import ROOT
from checks.matrix import environments, interpreters

QUICK = (
    *("-m", "not servers and not slow"),
    # What depends on no version of a dependency but takes half of the time.
    *(
        f"--ignore=tests/vitals/{path}"
        for path in (
            "redaction",
            "profiling",
            "test_leaks.py",
            "logging/test_faults.py",
            "logging/test_line_writer.py",
            "metrics/test_mmap_store.py",
            "metrics/test_worker_directory.py",
        )
    ),
)
PROCESSES = "2"


def main() -> int:
    """Run the cells of the matrix one after another; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m checks.matrix", description=__doc__)
    parser.add_argument("versions", nargs="*", help=", ".join(environments.OF_NAME))
    parser.add_argument("--python", action="append", help="such as 3.13; all by default")
    parser.add_argument("--quick", action="store_true", help="without slow tests and servers")
    arguments = parser.parse_args()
    known = interpreters.supported()
    failed = False
    for name in arguments.versions or environments.OF_NAME:
        # The lowest versions have no wheels for newer interpreters.
        for version in known[:1] if name.startswith("oldest") else arguments.python or known:
            python = interpreters.find(version)
            if python is not None:
                failed |= not run(environments.OF_NAME[name], version, python, arguments.quick)
    return int(failed)


def run(versions: environments.Versions, version: str, python: Path, quick: bool) -> bool:  # noqa: FBT001
    """Run the kit's tests in one environment, and print the outcome; whether they passed."""
    started = time.monotonic()
    title = f"Python {version}, {versions.name} versions"
    try:
        made, has_all = environments.create(versions, python)
    except subprocess.CalledProcessError as error:
        print(f"{title}: cannot be installed: {error}")
        return False
    if not has_all:
        title += ", the core alone: google-re2 has no wheel for this Python"
    cache = made.parent / ".pytest_cache"
    command: list[str | Path] = [made, "-m", "pytest", "-q", "-o", f"cache_dir={cache}"]
    command += ["tests/vitals", *(QUICK if quick else ())]
    done = subprocess.run([*command, "-n", PROCESSES, "--dist", "loadfile"], cwd=ROOT, check=False)
    if done.returncode:  # as `make test-again` does
        print(f"{title}: again, alone: what passes now depends on time, and needs mending")
        again = ["--last-failed", "--last-failed-no-failures", "none", "--exitfirst"]
        done = subprocess.run([*command, *again], cwd=ROOT, check=False)
    outcome = "failed" if done.returncode else "passed"
    print(f"{title}: {outcome} after {time.monotonic() - started:.0f} s", flush=True)
    return not done.returncode


if __name__ == "__main__":
    sys.exit(main())
