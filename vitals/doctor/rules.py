"""The rules' hops: they are loaded, of this version, and the boards' queries are answered."""

from collections.abc import Iterable
from typing import Any

from vitals.doctor.expectations import JOB, Expectations, normalize
from vitals.doctor.finding import Findings, note, ok, problem
from vitals.doctor.prometheus_api import ApiError, PrometheusApi

_SHOWN = 3
"""Names that a message lists."""


def check_rules(api: PrometheusApi, expected: Expectations) -> Findings:
    """Check that the rules of this version are loaded and evaluated."""
    groups = {group["name"]: group["rules"] for group in api.get("rules")["groups"]}
    missing = expected.rules.keys() - groups.keys()
    if len(missing) == len(expected.rules):
        yield problem(
            "rules",
            f"none of the {len(expected.rules)} groups is loaded",
            "add the files of prometheus/rules/ to rule_files: and reload Prometheus",
        )
        return
    if missing:
        yield problem(
            "rules",
            f"groups are not loaded: {_some(missing)}",
            "add all files of prometheus/rules/ to rule_files: and reload Prometheus",
        )
    others = sorted(
        name
        for group, rules in expected.rules.items()
        if group in groups
        for name in _differing(rules, groups[group])
    )
    if others:
        yield problem(
            "rules",
            f"{len(others)} rules are of another version: {_some(others)}",
            "copy prometheus/rules/ of this version, and reload Prometheus",
        )
    loaded = [rule for name in expected.rules if name in groups for rule in groups[name]]
    if broken := [rule for rule in loaded if rule.get("health") == "err"]:
        yield problem(
            "rules",
            f"{broken[0]['name']} cannot be evaluated: {broken[0].get('lastError', '')}",
            "see the status of the rules in Prometheus",
        )
    if not missing and not others and not broken:
        yield ok("rules", f"all {len(loaded)} rules of {len(expected.rules)} groups are loaded")


def check_signals(api: PrometheusApi, expected: Expectations, job: str) -> Findings:
    """Check that the rules have recorded series of the job, and that the boards' queries work."""
    found = api.query(f'count({{__name__=~"job.*:.+:.+", job="{job}"}})')
    if found:
        yield ok("signals", f"{found[0]['value'][1]} series are recorded of job {job}")
    else:
        yield note(
            "signals",
            f"nothing is recorded of job {job} yet",
            "rules need two scrapes, and most of them requests: ask again in a minute",
        )
    answered = with_data = 0
    for board, queries in expected.queries.items():
        for query in queries:
            try:
                with_data += bool(api.query(query.replace(JOB, job)))
            except ApiError as error:
                yield problem(
                    "boards",
                    f"a query of board {board} fails: {error}",
                    "use Prometheus 2.42 or later, and the boards of this version",
                )
                return
            answered += 1
    yield ok("boards", f"{answered} queries are answered, {with_data} of them with data")


def _differing(expected: dict[str, list[str]], loaded: Iterable[dict[str, Any]]) -> list[str]:
    """Names of rules that are missing or whose query is another one."""
    queries: dict[str, set[str]] = {}
    for rule in loaded:
        queries.setdefault(rule["name"], set()).add(normalize(rule["query"]))
    return [name for name, wanted in expected.items() if not {*wanted} <= queries.get(name, set())]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more
