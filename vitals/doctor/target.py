"""The target's hops: Prometheus scrapes the application, with the right path, token and job."""

import re
import urllib.parse
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from vitals.doctor.application import Application
from vitals.doctor.finding import Finding, Findings, ok, problem
from vitals.doctor.prometheus_api import PrometheusApi
from vitals.metrics.access import TOKEN_FILE
from vitals.metrics.catalogue import BUILD_INFO, PROCESS_START_TIME

LATE, SLACK = 3, 5.0
"""Scrape intervals, and seconds in addition, after which the last scrape is too old."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,12})(ms|[smhd])")


class Target(NamedTuple):
    """A scrape target, as Prometheus describes it.

    Attributes:
        job: Its job.
        instance: Its instance.
        url: What is scraped.
        state: Everything else.
    """

    job: str
    instance: str
    url: str
    state: dict[str, Any]


class TargetCheck:
    """Looks for the application among the targets.

    Args:
        api: Prometheus.
        application: The application, its page read if that was possible.
        job: The job that it should be in; None accepts any.

    Attributes:
        target: Its target, once it was found.
    """

    def __init__(self, api: PrometheusApi, application: Application, job: str | None) -> None:
        self._api = api
        self._application = application
        self._job = job
        self.target: Target | None = None

    def check(self) -> Findings:
        """Check the target; the first fault ends it."""
        targets = [
            Target(one["labels"].get("job", ""), one["labels"].get("instance", ""),
                   one["scrapeUrl"], one)
            for one in self._api.get("targets", state="active")["activeTargets"]
        ]  # fmt: skip
        own = self._own(targets)
        if not own:
            yield self._missing(targets)
            return
        jobs = sorted({target.job for target in own})
        wanted = [target for target in own if target.job == self._job] or own
        self.target = target = wanted[0]
        if fault := self._job_fault(jobs, targets):
            yield fault
        if fault := self._scrape_fault(target):
            yield fault
            return
        yield ok("target", f"{target.url} is up, as instance {target.instance} of job {target.job}")
        yield self._fresh(target)
        yield self._series(target)

    def _own(self, targets: Iterable[Target]) -> list[Target]:
        """Targets at the application's address, or whose series tell the same start."""
        own = [target for target in targets if _same(target.url, self._application.client.base)]
        page = self._application.page
        if own or page is None or not page.sum(PROCESS_START_TIME.name):
            return own
        # Prometheus may know it by another address, as in containers.
        started = page.sum(PROCESS_START_TIME.name)
        found = self._api.query(f"{PROCESS_START_TIME.name} == {started!r}")
        seen = {(one["metric"].get("job"), one["metric"].get("instance")) for one in found}
        return [target for target in targets if (target.job, target.instance) in seen]

    def _missing(self, targets: list[Target]) -> Finding:
        address = urllib.parse.urlsplit(self._application.client.base).netloc
        dropped = self._api.get("targets", state="dropped").get("droppedTargets") or []
        for one in dropped:
            found = one.get("discoveredLabels", {})
            if found.get("__address__") == address:
                return problem(
                    "target",
                    f"{address} is dropped by relabel_configs of job {found.get('job', '?')}",
                    "change these, and reload Prometheus",
                )
        known = ", ".join(sorted({target.url for target in targets})) or "none"
        return problem(
            "target",
            f"{address} is none of Prometheus's targets ({known})",
            f'add a file to prometheus/targets/, or static_configs: - targets: ["{address}"]; '
            "then reload",
        )

    def _job_fault(self, jobs: list[str], targets: list[Target]) -> Finding | None:
        if self._job is not None and self._job not in jobs:
            return problem(
                "job",
                f"it is scraped as job {', '.join(jobs)}, not as {self._job}",
                f"move the target to job_name: {self._job}, or ask for --job {jobs[0]}",
            )
        if len(jobs) > 1 and self._job is None:
            return problem(
                "job",
                f"it is scraped by several jobs: {', '.join(jobs)}",
                "remove it from all but one: each request is counted in each of them",
            )
        job = self._job or jobs[0]
        with_kit = {
            one["metric"].get("instance")
            for one in self._api.query(f'{BUILD_INFO.name}{{job="{_escape(job)}"}}')
        }
        strangers = [
            target.url
            for target in targets
            if target.job == job
            and target.state["health"] == "up"
            and target.instance not in with_kit
            and not _same(target.url, self._application.client.base)
        ]
        if strangers:
            return problem(
                "job",
                f"job {job} also scrapes {strangers[0]}, which is no application with the kit",
                "give the application a job of its own: rules and boards look at jobs",
            )
        return None

    def _scrape_fault(self, target: Target) -> Finding | None:
        error = str(target.state.get("lastError") or "")
        if target.state["health"] == "up":
            return None
        if target.state["health"] == "unknown":
            return problem("target", f"{target.url} was not scraped yet", "ask again in a minute")
        config = f"job {target.job} of Prometheus"
        if "403" in error:
            return problem(
                "target",
                f"{target.url} is served to the application's own machine only ({error})",
                f"set {TOKEN_FILE} for the application, and in {config} authorization: "
                "credentials_file: to the same file",
            )
        if "401" in error:
            sent = "the wrong one, or none" if self._application.needs_token else "none"
            return problem(
                "target",
                f"{target.url} refuses Prometheus's token: it sends {sent} ({error})",
                f"set authorization: credentials_file: in {config} to a file with the "
                "application's metrics token",
            )
        path = urllib.parse.urlsplit(target.url).path
        if path != self._application.path:
            return problem(
                "target",
                f"Prometheus scrapes {path}, the page is at {self._application.path} ({error})",
                f"set metrics_path: {self._application.path} in {config}",
            )
        return problem(
            "target",
            f"{target.url} cannot be scraped: {error or 'no reason given'}",
            f"check from Prometheus's machine that it is reachable, and see {config}",
        )

    def _fresh(self, target: Target) -> Finding:
        interval = _seconds(target.state.get("scrapeInterval", "")) or 60.0
        last = _time(target.state.get("lastScrape", ""))
        age = (datetime.now(UTC) - last).total_seconds() if last else float("inf")
        if age > LATE * interval + SLACK:
            return problem(
                "scrape",
                f"the last scrape was {age:.0f} s ago, every {interval:g} s is configured",
                "see Prometheus's log; compare the clocks of both machines",
            )
        return ok("scrape", f"the last one was {max(age, 0):.0f} s ago, every {interval:g} s")

    def _series(self, target: Target) -> Finding:
        job, instance = _escape(target.job), _escape(target.instance)
        only = f'{{job="{job}", instance="{instance}"}}'
        if self._api.query(f"{BUILD_INFO.name}{only}"):
            return ok("series", f"{BUILD_INFO.name} of this instance is stored")
        stored = self._api.query(f"scrape_samples_post_metric_relabeling{only}")
        number = stored[0]["value"][1] if stored else "0"
        if urllib.parse.urlsplit(target.url).path != self._application.path:
            return problem(
                "series",
                f"Prometheus scrapes {urllib.parse.urlsplit(target.url).path}, and the page is at "
                f"{self._application.path}",
                f"set metrics_path: {self._application.path} in job {target.job}",
            )
        return problem(
            "series",
            f"{number} samples of this instance are stored, but no {BUILD_INFO.name}",
            "check that the target is the application, and metric_relabel_configs",
        )


def _same(first: str, second: str) -> bool:
    """Whether two URLs name the same address."""
    one, other = urllib.parse.urlsplit(first), urllib.parse.urlsplit(second)
    hosts = {one.hostname, other.hostname}
    return _port(one) == _port(other) and (len(hosts) == 1 or hosts <= _LOOPBACK)


def _port(url: urllib.parse.SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"')


def _seconds(duration: str) -> float:
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))


def _time(text: str) -> datetime | None:
    """A time of Go's JSON, which has up to nine digits after the point."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if not found or text.startswith("0001"):
        return None
    when = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    if found[2] == "Z":
        return when
    hours, minutes = map(int, found[2][1:].split(":"))
    offset = timedelta(hours=hours, minutes=minutes)
    return when - offset if found[2][0] == "+" else when + offset
