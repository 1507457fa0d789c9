"""Installs the kit into public services, and compares them with and without it.

For each service: none of its packages moves, it responds as before, the kit counts what the client
counts, the access log keeps one line for each request, and the database is found. It takes minutes,
since the packages are downloaded.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.samples import Sample

from tests.foreign.environment import Environment, build_wheel, install_kit
from tests.foreign.running import access_lines, ask, read_metrics, run
from tests.foreign.services import SERVICES, ForeignService
from vitals.metrics.catalogue import DB_OPERATION_DURATION, HTTP_REQUEST_DURATION

EXTRAS = "sql,otel"
METRICS = "/vitals/metrics"
INSTRUMENT = f"""
from vitals import instrument
instrument(app, service_name="foreign", engine="all", metrics_path={METRICS!r})
"""


def main() -> None:
    """Check the services that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.foreign", description=__doc__)
    parser.add_argument("services", nargs="*", help=f"of {', '.join(SERVICES)}; all by default")
    names = parser.parse_args().services or list(SERVICES)
    if unknown := set(names) - set(SERVICES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SERVICES)}")
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        wheel = build_wheel(Path(directory))
        for name in names:
            print(name, flush=True)  # noqa: T201
            home = Path(directory) / name
            home.mkdir()
            for good, text in check(SERVICES[name], home, wheel):
                print(f"  {'ok ' if good else 'BAD'} {text}", flush=True)  # noqa: T201
                failed += not good
    sys.exit(1 if failed else 0)


def check(service: ForeignService, home: Path, wheel: Path) -> Iterator[tuple[bool, str]]:
    """Yield whether each claim holds, and the claim with its figures."""
    environment = Environment(home / "venv")
    environment.install(service.requirement)
    with run(service, environment, home / "before") as base:
        before = ask(service, base)
    expected = {(each.method, each.route or each.path, each.status) for each in service.requests}
    others = ", ".join(map(str, set(before) ^ expected))
    yield not others, f"without the kit: {before.total()} responses as expected {others}"

    moved = install_kit(environment, wheel, EXTRAS, home / "constraints.txt")
    yield not moved, f"packages moved by the kit: {', '.join(moved) or 'none'}"

    with run(service, environment, home / "after", INSTRUMENT) as base:
        after = ask(service, base)
        samples = read_metrics(base + METRICS)
    yield after == before, f"with the kit: {after.total()} responses, the same"

    counted = _requests(samples)
    wrong = [f"{key}: {counted[key]}, sent {after[key]}" for key in counted | after]
    wrong = [] if counted == after else wrong
    yield not wrong, f"requests counted: {counted.total()} of {after.total()} {'; '.join(wrong)}"

    lines = access_lines(home / "before"), access_lines(home / "after")
    added = _METRICS_READ if lines[0] else 0  # some services write none
    yield lines[0] + added == lines[1], f"access log: {lines[0]} and {lines[1]} lines"

    if service.database:
        name = f"{DB_OPERATION_DURATION.name}_count"
        statements = sum(sample.value for sample in samples if sample.name == name)
        yield statements > 0, f"statements counted: {statements:.0f}"


_METRICS_READ = 1
"""Requests that only the log of the instrumented service has."""


def _requests(samples: Iterable[Sample]) -> Counter[tuple[str, str, int]]:
    """What the kit has counted, by method, route and status."""
    counted: Counter[tuple[str, str, int]] = Counter()
    for sample in samples:
        if sample.name == f"{HTTP_REQUEST_DURATION.name}_count" and sample.value:
            labels = sample.labels
            status = int(labels["http_response_status_code"])
            counted[labels["http_request_method"], labels["http_route"], status] = int(sample.value)
    return counted


if __name__ == "__main__":
    main()
