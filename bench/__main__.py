"""Run every benchmark: ``python -m bench``; each also runs alone, as ``python -m bench.NAME``."""

import argparse
import subprocess
import sys

BENCHMARKS = (
    "requests",
    "meter",
    "bodies",
    "logs",
    "log_exports",
    "redaction",
    "rate_limit",
    "queries",
    "endpoints",
    "keyset",
    "advice",
    "pool",
    "cache",
    "clients",
    "watch",
    "load",
    "blocks",
    "store",
)


def main() -> None:
    """Run them one after the other; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*BENCHMARKS, []], help="these, not all")
    chosen = parser.parse_args().only or BENCHMARKS
    failed = [
        name
        for name in chosen
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode  # noqa: S603
    ]
    if failed:
        raise SystemExit(f"budget exceeded: {', '.join(failed)}")


if __name__ == "__main__":
    main()
