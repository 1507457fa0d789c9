"""The whole stack on this machine, as processes that listen on loopback.

Ports: API_PORT, POSTGRES_PORT, REDIS_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, INBOX_PORT,
STORE_PORT, ISSUES_PORT, and by default free ones, RUNNER_PORT, POSTGRES_READER_PORT and
REDIS_READER_PORT for the metrics of the runner, of PostgreSQL and of Redis.
Traces and logs are kept for STORE_KEEP (7d), up to STORE_LIMIT on disk (2GB).
Data are stored in var/ of the checkout, or in the folder VITALS_DATA.
With HA=1 there are two Prometheus and two Alertmanagers, of which any one may end; the second ones
listen on PROMETHEUS_2_PORT and ALERTMANAGER_2_PORT, by default free ones.
A service that ends is started again; with FAIL_FAST=1 the first end ends all.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from stack import run, settings, watch_command
from stack.backtest import command as backtest
from stack.drills import run as drills
from stack.drills.faults import FAULTS
from stack.install import debian_suites, packages
from stack.installation.paths import Installation
from stack.text_table import text_table


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except (
        OSError,
        RuntimeError,
        LookupError,
        ValueError,
    ) as error:  # messages say what to do
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command in {"status", "clean", "settings"}:
        return _run_without_servers(options.command)
    if options.command == "drill":
        return drills.run(Installation.here(), options.alerts)
    if options.command == "backtest":
        return backtest.run(options)
    if options.command != "install":
        settings.check(os.environ)
    packages.install(
        for_tests=options.command == "install" and options.for_tests,
        for_door=bool(os.environ.get("PUBLIC_URL")),
        for_api=options.command != "watch",
    )
    if options.command == "install":
        if options.for_tests:
            for suite in debian_suites.NEWER:
                debian_suites.fetch(suite)
            debian_suites.fetch_victoria_metrics()
            debian_suites.fetch_docker_compose()
        return 0
    amounts = None
    if options.command == "demo":
        amounts = {name: getattr(options, name) for name in ("users", "products", "orders")}
    return run.run(
        Installation.here(),
        command=f"python -m stack {options.command}",
        amounts=amounts,
        fast=options.fast,
        watched=watch_command.services(options) if options.command == "watch" else (),
        redis=watch_command.redis(options) if options.command == "watch" else None,
    )


def _run_without_servers(command: str) -> int:
    if command == "status":
        return run.status(Installation.here())
    if command == "settings":
        print(text_table(settings.rows(os.environ), ("setting", "value", "meaning")))
    else:
        run.clean(Installation.here())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run all services, with sample data and light traffic")
    demo.add_argument("--users", type=int, default=2000)
    demo.add_argument("--products", type=int, default=1000)
    demo.add_argument("--orders", type=int, default=20000)
    up = commands.add_parser("up", help="run all services, without sample data and traffic")
    watch = commands.add_parser(
        "watch",
        help="watch services that run already, without an API and databases of its own",
    )
    watch_command.add_arguments(watch)
    for each in (demo, up):
        each.add_argument(
            "--fast",
            action="store_true",
            help="run the rules many times faster, as drills do, and notify the inbox only",
        )
    commands.add_parser("status", help="print the state of each service, and the addresses")
    commands.add_parser("settings", help="print all settings, their values and what they mean")
    commands.add_parser("clean", help="remove all data; the stack must not run")
    drill = commands.add_parser("drill", help="inject a fault and follow its alert to the inbox")
    drill.add_argument(
        "alerts",
        metavar="ALERT",
        nargs="+",
        help=f"one or more of {', '.join(FAULTS)}; or {drills.ALL}, which also writes the table of "
        "docs/alerts.md",
    )
    replay = commands.add_parser(
        "backtest",
        help="how often each alert would have fired over recorded data",
        epilog=backtest.EPILOG,
    )
    backtest.add_arguments(replay)
    install = commands.add_parser("install", help="install the servers' packages if any is missing")
    install.add_argument("--for-tests", action="store_true", help="also what only tests need")
    return parser


if __name__ == "__main__":
    sys.exit(main())
