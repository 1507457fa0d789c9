"""Virtual environments for alternatives whose dependencies conflict with ours: pinned, kept."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path


def python(*pins: str) -> Path:
    """The interpreter of an environment that holds these packages.

    It is created in the folder for temporary files, with pip and its configured index, and reused
    by the next run.

    Args:
        pins: Packages with versions, such as ``sqlalchemy==2.0.51``.

    Raises:
        RuntimeError: They could not be installed; the message holds pip's output.
    """
    named = sha256("\n".join([sys.version, *pins]).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"vitals-alternative-{named}")
    finished, interpreter = folder / "finished", folder / "bin" / "python"
    if not finished.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *pins])
        finished.touch()
    return interpreter


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
