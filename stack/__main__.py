"""The whole stack on this machine, as processes on loopback.

Ports: API_PORT, POSTGRES_PORT, REDIS_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, INBOX_PORT.
Data lie in var/ of the checkout, or where VITALS_DATA says.
"""

import argparse
import sys
from collections.abc import Sequence

from stack import run
from stack.backtest import command as backtest
from stack.drills import run as drills
from stack.drills.faults import FAULTS
from stack.install import debian_suites, packages
from stack.installation.paths import Installation


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    asked = _parser().parse_args(words)
    try:
        return _run(asked)
    except KeyboardInterrupt:
        return 130
    except (OSError, RuntimeError, LookupError, ValueError) as error:  # each says what to do
        print(error, file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace) -> int:
    if asked.command == "status":
        return run.status(Installation.here())
    if asked.command == "clean":
        run.clean(Installation.here())
        return 0
    if asked.command == "drill":
        return drills.run(Installation.here(), asked.alerts)
    if asked.command == "backtest":
        return backtest.run(asked)
    packages.install(for_tests=asked.command == "install" and asked.for_tests)
    if asked.command == "install":
        for suite in debian_suites.NEWER if asked.for_tests else ():
            debian_suites.bring(suite)
        return 0
    amounts = None
    if asked.command == "demo":
        amounts = {name: getattr(asked, name) for name in ("users", "products", "orders")}
    what = f"python -m stack {asked.command}"
    return run.run(Installation.here(), what=what, amounts=amounts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="everything, with sample data and gentle traffic")
    demo.add_argument("--users", type=int, default=2000)
    demo.add_argument("--products", type=int, default=1000)
    demo.add_argument("--orders", type=int, default=20000)
    commands.add_parser("up", help="everything, without sample data and traffic")
    commands.add_parser("status", help="what runs, and where")
    commands.add_parser("clean", help="remove all data of a stack that does not run")
    fault = commands.add_parser("drill", help="break something and see its alert arrive")
    fault.add_argument(
        "alerts",
        metavar="ALERT",
        nargs="+",
        help=f"one or more of {', '.join(FAULTS)}; or {drills.ALL}, which also writes the table of "
        "docs/alerts.md",
    )
    replay = commands.add_parser(
        "backtest",
        help="how often each alert would have fired over recorded data",
        epilog=backtest.AFTERWORD,
    )
    backtest.add_arguments(replay)
    install = commands.add_parser("install", help="install the servers' packages if any is missing")
    install.add_argument("--for-tests", action="store_true", help="also what only the tests need")
    return parser


if __name__ == "__main__":
    sys.exit(main())
