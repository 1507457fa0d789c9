"""``vitals doctor``: finds out why a board is empty or an alert does not arrive.

It looks at every hop from the application to the receiver of its alerts, says what is wrong and
what to do, and changes nothing but a test alert, which is silenced and ended at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from vitals.doctor.alertmanager import Alertmanager, check_sending
from vitals.doctor.application import Application
from vitals.doctor.expectations import Expectations
from vitals.doctor.finding import Finding, Findings, Status, note, ok, problem
from vitals.doctor.http_client import HttpClient, UnreachableError
from vitals.doctor.prometheus_api import ApiError, PrometheusApi
from vitals.doctor.rules import check_rules, check_signals
from vitals.doctor.target import TargetCheck

HELP = "what is wrong between a service, Prometheus and Alertmanager, and what to do"
EXIT_STATUS = """exit status:
  0  every hop works; notes explain panels that stay empty
  1  there is a problem
  2  an argument is wrong
"""
_PROBLEM, _WRONG = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    parser.epilog = EXIT_STATUS
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("VITALS_URL"),
        help="the service, such as http://127.0.0.1:8000 (default: VITALS_URL of the environment)",
    )
    parser.add_argument(
        "--metrics-path", default="/metrics", metavar="PATH", help="default: %(default)s"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE",
        default=os.environ.get("VITALS_METRICS_TOKEN_FILE"),
        help="file with the token of its metrics (default: VITALS_METRICS_TOKEN_FILE of the "
        "environment)",
    )  # fmt: skip
    for name, port in (("prometheus", 9090), ("alertmanager", 9093)):
        variable = f"VITALS_{name.upper()}_URL"
        parser.add_argument(
            f"--{name}", metavar="URL", default=os.environ.get(variable),
            help=f"such as http://127.0.0.1:{port} (default: {variable} of the environment)",
        )  # fmt: skip
    parser.add_argument("--job", help="the job that the service should be in (default: any)")
    parser.add_argument(
        "--no-test-alert", action="store_true", help="send no test alert to Alertmanager"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS",
        help="of each request, and until an alert has arrived (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Look at every hop and print what is found; returns the exit status."""
    if not arguments.url:
        print("vitals: no service given: name its URL, or set VITALS_URL", file=sys.stderr)
        return _WRONG
    for option in ("url", "prometheus", "alertmanager"):
        address = getattr(arguments, option)
        if address is not None and not address.startswith(("http://", "https://")):
            print(f"vitals: {address!r} must begin with http:// or https://", file=sys.stderr)
            return _WRONG
    if not arguments.metrics_path.startswith("/") or arguments.timeout <= 0:
        print("vitals: --metrics-path begins with /, --timeout is above 0", file=sys.stderr)
        return _WRONG
    token = None
    if arguments.token_file is not None:
        try:
            token = Path(arguments.token_file).read_text().strip()
        except (OSError, ValueError) as error:
            print(f"vitals: cannot read {arguments.token_file}: {error}", file=sys.stderr)
            return _WRONG
    findings: list[Finding] = []
    for finding in examine(arguments, token):
        findings.append(finding)
        if not arguments.json:
            print(finding, flush=True)
    problems = sum(finding.status == Status.PROBLEM for finding in findings)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print(f"{problems or 'no'} problem{'s' * (problems != 1)}")
    return _PROBLEM if problems else 0


def examine(arguments: argparse.Namespace, token: str | None) -> Iterator[Finding]:
    """Look at every hop."""
    timeout = arguments.timeout
    application = Application(HttpClient(arguments.url, timeout), arguments.metrics_path, token)
    yield from application.check()
    api = None
    if arguments.prometheus is None:
        yield note("prometheus", "is not looked at", "give its address as --prometheus")
    else:
        api = PrometheusApi(HttpClient(arguments.prometheus, timeout))
        try:
            yield from _prometheus(api, application, arguments)
        except UnreachableError as error:
            api = None
            yield problem(
                "prometheus",
                f"{arguments.prometheus} is not reachable: {error}",
                "start it, or give the address where it listens",
            )
        except (ApiError, LookupError, TypeError) as error:
            api = None
            yield problem(
                "prometheus",
                f"{arguments.prometheus} does not answer as Prometheus: {error}",
                "give its address, and its route prefix if it has one",
            )
    if arguments.alertmanager is None:
        yield note("alertmanager", "is not looked at", "give its address as --alertmanager")
        return
    alertmanager = Alertmanager(HttpClient(arguments.alertmanager, timeout), timeout)
    try:
        reached = True
        for finding in alertmanager.check(test_alert=not arguments.no_test_alert):
            reached = reached and (finding.hop, finding.status) != (
                "alertmanager", Status.PROBLEM,
            )  # fmt: skip
            yield finding
        if api is not None and reached:
            yield from alertmanager.arrives(api)
    except (UnreachableError, ApiError, LookupError, TypeError) as error:
        yield problem("alertmanager", f"stopped to answer: {error}", "see its log")


def _prometheus(
    api: PrometheusApi, application: Application, arguments: argparse.Namespace
) -> Findings:
    version = api.get("status/buildinfo")["version"]
    yield ok("prometheus", f"{version} answers")
    page = api.own_metrics()
    if page and page.values.get(("prometheus_config_last_reload_successful", ())) == 0:
        yield problem(
            "config",
            "Prometheus rejects its configuration file and runs with the one before",
            "run promtool check config on it, and see its log",
        )
    target = TargetCheck(api, application, arguments.job)
    yield from target.check()
    expected = Expectations.load()
    yield from check_rules(api, expected)
    if target.target is not None:
        yield from check_signals(api, expected, target.target.job)
    yield from check_sending(api, arguments.alertmanager)
