"""Render what Prometheus and Alertmanager read.

python -m alerts                            write prometheus/rules/*.yml and docs/alerts.md
python -m alerts --check                    fail if they are out of date
python -m alerts --fast --output DIR        the same rules, many times faster, for drills
python -m alerts alertmanager --output FILE write Alertmanager's configuration from ALERT_*
python -m alerts reconcile                  report to Alertmanager the ends that it has missed
"""

import argparse
import os
import sys
from pathlib import Path

from alerts import prometheus_pair, prometheus_watch, reconciler, table
from alerts.alertmanager import FAST_TIMINGS, NORMAL_TIMINGS, write
from alerts.receivers import InvalidReceiverSettingsError, ReceiverSettings
from alerts.rule_files import render
from alerts.time_scale import FAST, REAL_TIME

RULES = Path(__file__).parents[1] / "prometheus" / "rules"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.what == "alertmanager":
        return _alertmanager(chosen)
    if chosen.what == "reconcile":
        return _reconcile(chosen)
    files = {
        chosen.output / name: text
        for name, text in render(FAST if chosen.fast else REAL_TIME).items()
    }
    left_over = {*chosen.output.glob("*.yml")} - {*files}
    if chosen.output == RULES:
        files[table.DOCUMENT] = table.render(table.DOCUMENT.read_text(encoding="utf-8"))
        one = (prometheus_pair.FOLDER / "prometheus.yml").read_text(encoding="utf-8")
        files[prometheus_pair.DOCUMENT] = prometheus_pair.render(one)
        files[prometheus_watch.DOCUMENT] = prometheus_watch.render(one)
    stale = {path: text for path, text in files.items() if _read(path) != text}
    if chosen.check:
        for path in sorted((*stale, *left_over)):
            print(f"{path} is out of date; run: make render", file=sys.stderr)
        return 1 if stale or left_over else 0
    for path in left_over:
        path.unlink()
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


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
    reconcile = commands.add_parser(
        "reconcile",
        help="keep reporting to Alertmanager the ends that it has missed",
        description=reconciler.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reconcile.set_defaults(what="reconcile")
    reconcile.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    reconcile.add_argument("--alertmanager", default="http://127.0.0.1:9093", help="its URL")
    reconcile.add_argument("--interval", type=float, default=5, help="seconds between two looks")
    return parser


def _alertmanager(chosen: argparse.Namespace) -> int:
    templates = chosen.templates or chosen.output.parent / "templates"
    try:
        settings = ReceiverSettings.read(os.environ)
    except InvalidReceiverSettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if not settings.has_receivers:
        print("no ALERT_* variable names a receiver: alerts will not be sent", file=sys.stderr)
    write(settings, chosen.output, templates, FAST_TIMINGS if chosen.fast else NORMAL_TIMINGS)
    return 0


def _reconcile(chosen: argparse.Namespace) -> int:
    def report(text: str) -> None:
        print(text, flush=True)

    reconciler.keep_reconciling(chosen.prometheus, chosen.alertmanager, report, chosen.interval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
