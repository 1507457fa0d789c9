"""Coverage-guided fuzzing of validation and redaction: ``python -m bench.fuzz.guided``.

`bench.fuzz` draws bodies at random; atheris (libFuzzer) keeps those that reach new code and mutates
them further. The invariants are the same.
"""

import argparse
import asyncio
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

MAX_BYTES = 4_096
MARK = b"~"
"""Placeholder of the secret in the data of libFuzzer."""

SEEDS = (
    b'{"email": "ada@example.com", "password": "~", "items": [{"name": "key", "value": "~"}]}',
    b'[["password", "x"], "the pin is ~", "Basic YTpi", "https://a:b/c@d/e", 4111111111111111]',
    b"name=ada&password=x&note=a~%3Db",
    b'{"a": 1, "note": "see ~ now", "b": [1e9, "\\ud83d\\ude00", "{\\"at\\": \\"~\\"}"]}',
)


def fuzz(bodies: int) -> None:
    """Send this many bodies; ends the process, with a traceback if one violates an invariant."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(
        include=["vitals.body", "vitals.validation", "vitals.asgi.content_type"]
    ):
        attempts = import_module("bench.fuzz.generators")
        targets = import_module("bench.fuzz.target")
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        opened = targets.target(Path(folder))
        service = runner.run(opened.__aenter__())

        def check(drawn: bytes) -> None:
            seed, content = int.from_bytes(drawn[:4]), drawn[4:]
            if MARK not in content:
                content += MARK
            planted = content.replace(MARK, targets.TOKEN.encode())
            body = attempts.Body(planted, attempts.JSON, named=False)
            runner.run(service.send(attempts.attempt(body, Random(seed))))

        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(SEEDS):
            (corpus / str(number)).write_bytes(b"\0\0\0\1" + seed)
        limits = [f"-runs={bodies}", f"-max_len={MAX_BYTES}", "-len_control=0"]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], check)
        atheris.Fuzz()


def main() -> None:
    """Fuzz, if atheris is installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz.guided", description=__doc__)
    parser.add_argument("--bodies", type=int, default=20_000, help="how many (20000)")
    options = parser.parse_args()
    if find_spec("atheris") is None:
        raise SystemExit("this needs atheris: python -m pip install atheris (Linux, Python 3.11)")
    fuzz(options.bodies)


if __name__ == "__main__":
    main()
