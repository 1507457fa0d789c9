"""Render what Prometheus and Alertmanager read.

python -m alerts                            write prometheus/rules/*.yml
python -m alerts --check                    fail if they differ from what would be written
python -m alerts --fast --output DIR        the same rules, many times faster, for drills
python -m alerts alertmanager --output FILE write Alertmanager's configuration from ALERT_*
"""

import argparse
import os
import sys
from pathlib import Path

from alerts.alertmanager import CALM, HASTY, write
from alerts.receivers import Environment, EnvironmentUnusableError
from alerts.rule_files import render
from alerts.time_scale import AS_WRITTEN, FAST

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns what the process exits with."""
    chosen = _parser().parse_args(arguments)
    if chosen.what == "alertmanager":
        return _alertmanager(chosen)
    if chosen.check:
        return _check(chosen.output)
    chosen.output.mkdir(parents=True, exist_ok=True)
    files = render(FAST if chosen.fast else AS_WRITTEN)
    for stray in {path.name for path in chosen.output.glob("*.yml")} - {*files}:
        (chosen.output / stray).unlink()
    for name, text in files.items():
        (chosen.output / name).write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m alerts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(what="rules")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--fast", action="store_true", help="short windows, for drills and tests")
    parser.add_argument("--output", type=Path, default=RULES, help="folder of the rules")
    commands = parser.add_subparsers()
    alertmanager = commands.add_parser(
        "alertmanager", help="write Alertmanager's configuration from ALERT_* variables"
    )
    alertmanager.set_defaults(what="alertmanager")
    alertmanager.add_argument("--output", type=Path, required=True, help="file to write (0600)")
    alertmanager.add_argument(
        "--templates", type=Path, help="folder for the templates; templates/ beside the file"
    )
    alertmanager.add_argument("--fast", action="store_true", help="wait seconds, not minutes")
    return parser


def _check(folder: Path) -> int:
    fresh = render()
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yml")}
    stale = sorted(name for name in {*fresh, *committed} if fresh.get(name) != committed.get(name))
    for name in stale:
        print(f"{folder / name} is not what alerts/ declares; run: make render", file=sys.stderr)
    return 1 if stale else 0


def _alertmanager(chosen: argparse.Namespace) -> int:
    templates = chosen.templates or chosen.output.parent / "templates"
    try:
        environment = Environment.read(os.environ)
    except EnvironmentUnusableError as error:
        print(error, file=sys.stderr)
        return 2
    if not environment.reaches_people:
        print("no ALERT_* variable names a receiver: alerts will reach nobody", file=sys.stderr)
    write(environment, chosen.output, templates, HASTY if chosen.fast else CALM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
