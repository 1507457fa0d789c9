"""The application's hops: it is reachable and serves a page with the kit's figures."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from vitals.doctor.finding import Finding, Findings, note, ok, problem
from vitals.doctor.http_client import Answer, HttpClient, UnreachableError
from vitals.metrics import catalogue
from vitals.metrics.access import TOKEN_FILE
from vitals.metrics.catalogue import (
    BUILD_INFO,
    CACHE_REQUESTS,
    DB_OPERATION_DURATION,
    DROPPED,
    HTTP_REQUEST_DURATION,
    PROCESS_START_TIME,
    SLO_TARGET,
    WORKERS,
)
from vitals.metrics.declarations import Counter, Histogram

SCRAPES = 6
"""Pages that are read, each through a connection of its own, so that several workers answer."""

USUAL_PATHS = ("/metrics", "/metrics/", "/vitals/metrics")

_ALWAYS = (BUILD_INFO, WORKERS, HTTP_REQUEST_DURATION, SLO_TARGET, PROCESS_START_TIME)
"""Metrics that every instrumented application exports from the start."""

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_REDIRECTS = range(300, 400)

_OWN = {
    metric.name for metric in vars(catalogue).values() if isinstance(metric, Counter | Histogram)
}

Series = tuple[str, tuple[tuple[str, str], ...]]


class Page(NamedTuple):
    """A page of metrics.

    Attributes:
        values: The samples.
        counters: Those of counters and histograms, which never fall.
    """

    values: dict[Series, float]
    counters: dict[Series, float]

    @classmethod
    def parse(cls, text: str) -> "Page":
        """Parse the text format.

        Raises:
            ValueError: The text is no page of metrics.
        """
        page = cls({}, {})
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series = (sample.name, tuple(sorted(sample.labels.items())))
                page.values[series] = sample.value
                if family.type in {"counter", "histogram"}:
                    page.counters[series] = sample.value
        return page

    @property
    def names(self) -> set[str]:
        """Names of all samples."""
        return {name for name, _ in self.values}

    def sum(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        wanted = labels.items()
        return sum(
            value
            for (found, of), value in self.values.items()
            if found == name and wanted <= dict(of).items()
        )


class Application:
    """The application as the doctor sees it.

    Args:
        client: Sends requests to it.
        path: Path of its page.
        token: Its token, if any.

    Attributes:
        page: Its page, once it was read.
        needs_token: Whether the page is served with a token only.
    """

    def __init__(self, client: HttpClient, path: str, token: str | None) -> None:
        self.client = client
        self.path = path
        self.page: Page | None = None
        self.needs_token = False
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def check(self) -> Findings:
        """Check the hops up to the page; the first fault ends it."""
        try:
            answer = self.client.get(self.path, self._headers)
        except UnreachableError as error:
            yield problem(
                "application",
                f"{self.client.base} is not reachable: {error}",
                "start it, or give the address where it listens",
            )
            return
        yield ok("application", f"{self.client.base} answers")
        if fault := self._status_fault(answer) or self._format_fault(answer):
            yield fault
            return
        yield ok("page", f"{self.path} is a page of metrics")
        yield self._token()
        yield from self._names()
        yield from self._workers()

    def _status_fault(self, answer: Answer) -> Finding | None:
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return self._refusal(answer.status)
        if answer.status in _REDIRECTS:
            return problem(
                "page",
                f"{self.path} redirects to {answer.headers.get('location', '?')}",
                "give that address, or the path of metrics_path= as --metrics-path",
            )
        if answer.status == _NOT_FOUND:
            return self._not_found(answer)
        if answer.status != 200:  # noqa: PLR2004
            return problem(
                "page", f"{self.path} responds with {answer.status}", "see the application's log"
            )
        return None

    def _refusal(self, status: int) -> Finding:
        if status == _FORBIDDEN:
            return problem(
                "token",
                f"{self.path} is served to the application's own machine only (403)",
                f"set {TOKEN_FILE} for the application, or ask from its machine",
            )
        if self._headers:
            return problem(
                "token",
                f"{self.path} refuses the token ({status})",
                "give the file of the application's metrics token as --token-file",
            )
        return problem(
            "token",
            f"{self.path} requires a token ({status})",
            "give the file that holds it as --token-file",
        )

    def _not_found(self, answer: Answer) -> Finding:
        for path in USUAL_PATHS:
            try:
                found = path != self.path and self.client.get(path, self._headers)
            except UnreachableError:
                break
            if found and (found.status == _UNAUTHORIZED or _is_text_format(found)):
                return problem(
                    "page",
                    f"{self.path} is not found, but there is a page of metrics at {path}",
                    f"use --metrics-path {path}, in Prometheus metrics_path: {path}",
                )
        return problem(
            "page",
            f"{self.path} is not found at {self.client.base} (server: {_server(answer)})",
            "call vitals.instrument(app); give the path of metrics_path= as --metrics-path; check "
            "that it is the application's port",
        )

    def _format_fault(self, answer: Answer) -> Finding | None:
        if not _is_text_format(answer):
            return problem(
                "page",
                f"{self.path} is {answer.headers.get('content-type', 'of no type')}, no page of "
                f"metrics (server: {_server(answer)})",
                "give the application's port, and the path of metrics_path= as --metrics-path",
            )
        try:
            self.page = Page.parse(answer.text)
        except ValueError as error:
            return problem(
                "page",
                f"{self.path} cannot be parsed: {error}",
                "look for another library that serves this path",
            )
        return None

    def _token(self) -> Finding:
        if not self._headers:
            return ok("token", "none is required here")
        try:
            self.needs_token = self.client.get(self.path).status in {_UNAUTHORIZED, _FORBIDDEN}
        except UnreachableError:
            self.needs_token = True
        if self.needs_token:
            return ok("token", "is required, and accepted")
        return note(
            "token",
            "is not required here, though it was sent",
            f"set {TOKEN_FILE} for the application, so that other machines can read the page",
        )

    def _names(self) -> Findings:
        names = self.page.names if self.page else set()
        missing = [metric.name for metric in _ALWAYS if not _has(names, metric.name)]
        if len(missing) == len(_ALWAYS) or BUILD_INFO.name in missing:
            first = min(names, default="nothing")
            yield problem(
                "names",
                f"the page is not the kit's: it has no {missing[0]}, but {first}",
                "call vitals.instrument(app), or give the application's port: another server "
                "may listen here",
            )
            return
        if missing:
            yield problem(
                "names",
                f"metrics of this version are missing: {', '.join(missing)}",
                "install the same version of the kit as this doctor's",
            )
        else:
            yield ok("names", f"{len(names)} names, those of every application among them")
        for metric, what, remedy in (
            (DB_OPERATION_DURATION, "no engine is watched: database panels stay empty",
             "instrument(app, engine=engine)"),
            (CACHE_REQUESTS, "no cache is measured: cache panels stay empty",
             "Vitals.cache(name), if there is one"),
        ):  # fmt: skip
            if not _has(names, metric.name):
                yield note("names", what, remedy)

    def _workers(self) -> Findings:
        """Read further pages; counters of several workers together never fall."""
        if self.page is None or BUILD_INFO.name not in self.page.names:
            return
        labels = {label for _, of in self.page.values for label in of}
        if apart := sorted(value for name, value in labels if name == "worker"):
            yield problem(
                "workers",
                f"worker {', '.join(apart)} cannot share its metrics with the others",
                "see the application's log; set VITALS_WORKERS_DIR to a directory of its user",
            )
            return
        try:
            pages = [self.page, *(self._read() for _ in range(SCRAPES - 1))]
        except (UnreachableError, ValueError) as error:
            yield problem(
                "workers", f"a further page is not readable: {error}", "see the application's log"
            )
            return
        yield from _fallen(pages)
        if lost := pages[-1].sum(DROPPED.name, reason="workers_directory"):
            yield note(
                "workers",
                f"the directory that they share was removed: {lost:.0f} workers made it again",
                "find out who cleans it up, or set VITALS_WORKERS_DIR",
            )
        numbers = {page.sum(WORKERS.name) for page in pages}
        if len(numbers) > 1:
            yield note("workers", f"{max(numbers):.0f} or fewer answer", "ask again: some start")
        else:
            yield ok("workers", f"{max(numbers):.0f} answer together")

    def _read(self) -> Page:
        return Page.parse(self.client.get(self.path, self._headers).text)


def _fallen(pages: list[Page]) -> Findings:
    """Counters that fall from one page to the next."""
    fallen = {
        name
        for before, page in pairwise(pages)
        for (name, of), value in page.counters.items()
        if value < before.counters.get((name, of), 0.0)
    }
    if own := sorted(name for name in fallen if _family(name) in _OWN):
        yield problem(
            "workers",
            f"{own[0]} falls from page to page: several workers answer, each with its own figures",
            "set VITALS_WORKERS_DIR to a directory that they share, before the start",
        )
    elif fallen:
        yield note(
            "workers",
            f"{min(fallen)}, which is not the kit's, falls from page to page",
            "set PROMETHEUS_MULTIPROC_DIR to an empty directory before the start",
        )


def _family(name: str) -> str:
    for suffix in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(suffix)
    return name


def _is_text_format(answer: Answer) -> bool:
    kind = str(answer.headers.get("content-type", "")).lower()
    return answer.status == 200 and (  # noqa: PLR2004
        "openmetrics-text" in kind or ("text/plain" in kind and "version=" in kind)
    )


def _server(answer: Answer) -> str:
    return str(answer.headers.get("server", "unnamed"))


def _has(names: Iterable[str], metric: str) -> bool:
    return any(name in {metric, f"{metric}_count"} for name in names)
