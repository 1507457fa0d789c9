"""Investigation: the lines and links of a notification with which a person begins.

Each is an annotation of its own and at most one line, so that every receiver has them, webhooks
included: the worst route, the statement and its line, the last deployment, and the paths of the
viewer's pages of an example trace and of the logs. What nothing is known of expands to nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from alerts.enrichment import Enrichment, lookup
from rules.datastores import (
    FAILING_STATEMENTS,
    SLOW_QUERIES_BY_FINGERPRINT,
    STATEMENTS_OF_ROUTES,
)
from rules.releases import DEPLOYED_AT
from rules.requests import ERRORS_5M, MATCHED
from rules.slo import BAD_EVENTS_BY_ROUTE, REQUESTS_5M_BY_ROUTE, TARGET
from vitals.metrics.catalogue import DB_LOCK_WAIT, DB_OPERATION_DURATION, PROCESS_START_TIME

_JOB, _ROUTE, _FINGERPRINT = "%job", "%http_route", "%db_query_fingerprint"
_WINDOW = 1800
"""Seconds before the last evaluation from which on traces and logs are shown, as on the board."""
_RECENT, _SETTLED = 3600, 600
"""Seconds for which a start of a process is news; after a deployment, in which it is part of it."""
_COSTLY = 0.001
"""Seconds of a request from which on a statement may be what makes it slow."""
_FIVE_MINUTES = 300


@dataclass(frozen=True)
class Investigation:
    """What is looked up for a notification, besides possible causes.

    Attributes:
        worst: The worst route, for an alert without the label ``http_route`` or where it is empty:
            one series, or none.
        errors: Queries of errors, one result each or none: the first that has one is shown.
        route_errors: The same, where the alert has its own route.
        statement: The statement to look at, as a template.
        reason: Why an example trace was kept: ``error``, ``objective`` or ``n_plus_one``, or a
            template; empty for any. See docs/tracing.md.
        log_filter: Further parameters of the page of logs, or a template.
        traces: The page that shows traces; empty where no requests are concerned.
        trace_filter: Further parameters of that page, or a template.
        error_filter: Makes a template of the parameter that selects traces of the error that is
            shown; none where another trace than of that error is the proof.
        window: Seconds before the last evaluation that traces and logs are of.
    """

    worst: Enrichment | None = None
    errors: tuple[str, ...] = ()
    route_errors: tuple[str, ...] = ()
    statement: str = ""
    reason: str = ""
    log_filter: str = ""
    traces: str = "traces/example/"
    trace_filter: str = ""
    error_filter: Callable[[str], str] | None = None
    window: int = _WINDOW

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations, as templates."""
        worst = self.worst and _by_route("", _shown(self.worst))
        texts = {
            "worst_route": worst,
            "error": self._error(_ERROR_TEXT),
            "issue": self._error(_ISSUE),
            "statement": self.statement,
            "deployment": DEPLOYMENT,
            "trace": self._trace if self.traces else "",
            "logs": f"logs/?service={_escaped('$labels.job')}{self.log_filter}{self._times}",
        }
        return {name: text for name, text in texts.items() if text}

    def _error(self, text: str) -> str:
        own, other = (
            _first(*(Enrichment(query, text) for query in queries))
            for queries in (self.route_errors, self.errors)
        )
        return _by_route(own, other) if own else other

    @property
    def _trace(self) -> str:
        own = f"&route={_escaped('.')}"
        other = ""
        if self.worst:
            label = ".Labels.http_route"
            other = (
                f"{{{{ else }}}}{{{{ range {lookup(self.worst.query)} }}}}{{{{ if {label} }}}}"
                f"&route={_escaped(label)}{{{{ end }}}}{{{{ end }}}}"
            )
        reason = f"&reason={self.reason}" if self.reason else ""
        if self.error_filter:
            reason += self.error_filter(self._error(_OF_ERROR))
        return (
            f"{self.traces}?service={_escaped('$labels.job')}"
            f"{{{{ with $labels.http_route }}}}{own}{other}{{{{ end }}}}{reason}"
            f"{self.trace_filter}{self._times}"
        )

    @property
    def _times(self) -> str:
        """Milliseconds, of the last evaluation: the alert may go on for long."""
        at = "{{{{ range query `vector({} * 1000)` }}}}{{{{ printf `%.0f` .Value }}}}{{{{ end }}}}"
        return f"&from={at.format(f'(time() - {self.window})')}&to={at.format('time()')}"


def _escaped(value: str) -> str:
    """A value within an address; a plus would be read as a plus by some."""
    return f'{{{{ reReplaceAll "[+]" "%20" ({value} | urlquery) }}}}'


def _shown(each: Enrichment) -> str:
    return f"{{{{ range {lookup(each.query)} }}}}{each.text}{{{{ end }}}}"


def _by_route(own: str, other: str) -> str:
    """The one text for an alert on a route, the other for one on a service."""
    return f"{{{{ if $labels.http_route }}}}{own}{{{{ else }}}}{other}{{{{ end }}}}"


def _first(*enrichments: Enrichment) -> str:
    """The text of the first that has a result."""
    if not enrichments:
        return ""
    first, *others = enrichments
    otherwise = f"{{{{ else }}}}{_first(*others)}" if others else ""
    return (
        f"{{{{ with {lookup(first.query)} }}}}{{{{ range . }}}}{first.text}{{{{ end }}}}"
        f"{otherwise}{{{{ end }}}}"
    )


def _whole(events: str) -> str:
    """A number of events; increases are extrapolated."""
    return f"clamp_min(round({events}), 1)"


# -- Routes -------------------------------------------------------------------------------------


def _bad(slo: str) -> Enrichment:
    """The route with most bad events, of those that the service's objective counts."""
    bad, own = (
        BAD_EVENTS_BY_ROUTE.select(job=_JOB, slo=slo),
        TARGET.select(job=_JOB, slo=slo, http_route=MATCHED),
    )
    return Enrichment(
        _whole(f"topk(1, ({bad} unless on (job, slo, http_route) {own}) * {_FIVE_MINUTES} > 0)"),
        "{{ if .Labels.http_route }}{{ .Labels.http_route }}{{ else }}(no route){{ end }}, "
        "{{ .Value | humanize }} bad requests within five minutes",
    )


_WORST_FAILING, _WORST_SLOW, _WORST = _bad("availability"), _bad("latency"), _bad("%slo")

# -- Errors -------------------------------------------------------------------------------------

_ERROR_TEXT = (
    "{{ .Labels.type }}{{ with .Labels.place }} at {{ . }}{{ end }}, {{ .Value | humanize }} "
    "within five minutes"
)
_ISSUE = f"issues/?id={_escaped('.Labels.fingerprint')}"
_OF_ERROR = f"&q=vitals.error.fingerprint%3D%22{_escaped('.Labels.fingerprint')}%22"


def _errors(within: str = "", **only: str) -> tuple[str, str]:
    """Queries of the newest error.

    It is one that did not happen in the hour before, or else the most frequent one.
    """
    errors = f"{ERRORS_5M.select(job=_JOB, **only)}"
    before = f"max_over_time({ERRORS_5M.select(job=_JOB)}[1h] offset 10m)"
    return (
        _whole(f"topk(1, {errors}{within} unless on (job, fingerprint) {before})"),
        _whole(f"topk(1, {errors}{within})"),
    )


_NEW_ERROR = _errors()[:1]
"""Where errors are not what the alert is about."""

# -- Statements ---------------------------------------------------------------------------------

_SITE = "{{ with .Labels.site }}, {{ . }}{{ end }} ({{ .Labels.db_query_fingerprint }})"
_OF_A_REQUEST = "{{ .Labels.db_query_summary }}, {{ .Value | humanizeDuration }} of a request"


def _costliest(more: float = _COSTLY, within: str = "", **only: str) -> Enrichment:
    """The statement that a request of a route waits for longest."""
    statements = STATEMENTS_OF_ROUTES.select(job=_JOB, **only)
    requests = REQUESTS_5M_BY_ROUTE.select(job=_JOB)
    return Enrichment(
        f"topk(1, {statements} / on (job, http_route) group_left () ({requests} > 0) > {more}"
        f"{within})",
        _OF_A_REQUEST + _SITE,
    )


def _of_worst(worst: Enrichment) -> Enrichment:
    return _costliest(within=f" and on (job, http_route) {worst.query}")


_OF_ROUTE = _costliest(http_route=_ROUTE)
_FAILING = Enrichment(
    _whole(f"topk(1, {FAILING_STATEMENTS.select(job=_JOB)})"),
    "{{ .Labels.db_query_summary }} fails with {{ .Labels.error_type }}, {{ .Value | humanize }} "
    "within five minutes ({{ .Labels.db_query_fingerprint }})",
)
_BUSIEST = Enrichment(
    f"topk(1, {STATEMENTS_OF_ROUTES.select(job=_JOB)})",
    "{{ .Labels.db_query_summary }}, {{ .Value | humanizeDuration }} within five minutes, "
    "most of {{ .Labels.http_route }}" + _SITE,
)
_SLOWEST = Enrichment(
    f"topk(1, {STATEMENTS_OF_ROUTES.select(job=_JOB)} and on (job, db_query_fingerprint) "
    f"topk(1, {SLOW_QUERIES_BY_FINGERPRINT.select(job=_JOB)} > 0))",
    _BUSIEST.text,
)
_SENDER = Enrichment(
    f"topk(1, {STATEMENTS_OF_ROUTES.select(job=_JOB, db_query_fingerprint=_FINGERPRINT)})",
    "{{ .Labels.http_route }}, which waits for it longest",
)
_SENT = Enrichment(_SENDER.query, "{{ .Labels.db_query_summary }}" + _SITE)
_CALLS = DB_OPERATION_DURATION.rate("db_query_summary", job=_JOB, db_query_fingerprint=_FINGERPRINT)
_NAMED = Enrichment(f"topk(1, {_CALLS})", "{{ .Labels.db_query_summary }}")
"""Of a statement whose line is not known."""
_REPEATED = Enrichment(
    _costliest(0, http_route=_ROUTE, db_query_fingerprint=_FINGERPRINT).query,
    _OF_A_REQUEST + _SITE,
)

# -- Locks --------------------------------------------------------------------------------------

_WAITING = Enrichment(
    "topk(1, max by (waiting_query_summary) "
    f"({DB_LOCK_WAIT.select(job=_JOB, db_namespace='%db_namespace')}) > 0)",
    "&q=%7Bspan.db.query.summary%20%3D%20"
    f"{_escaped('printf `%q` .Labels.waiting_query_summary')}"
    "%20%26%26%20duration%20%3E%20500ms%7D",
)
"""Of the statement that waits longest, one that took as long as only a lock makes it take."""

# -- Deployments --------------------------------------------------------------------------------

_VERSION = "version {{ .Labels.version }}{{ with .Labels.revision }} ({{ . }}){{ end }}"
_AGE = f"bottomk(1, clamp_min(time() - {DEPLOYED_AT.select(job=_JOB)}, 0))"
_STARTS = PROCESS_START_TIME.select(job=_JOB)
_RESTARTED = (
    f"bottomk(1, clamp_min(time() - max by (job) ({_STARTS}), 0) < {_RECENT} unless on (job) "
    f"max by (job) ({_STARTS}) - {_SETTLED} < on (job) max by (job) "
    f"({DEPLOYED_AT.select(job=_JOB)}))"
)
DEPLOYMENT = (
    f"{{{{ with {lookup(_AGE)} }}}}{{{{ range . }}}}{_VERSION}, "
    "{{ .Value | humanizeDuration }} ago{{ end }}{{ else }}unknown{{ end }}"
    f"{{{{ range {lookup(_RESTARTED)} }}}}; restarted {{{{ .Value | humanizeDuration }}}} ago"
    "{{ end }}"
)
"""The last deployment of the alert's job, and a later restart."""

# -- Of kinds of alerts -------------------------------------------------------------------------

_OWN_ERRORS = _errors(http_route=_ROUTE)
_ERROR_LOGS = "&level=error"
OF_ERRORS = Investigation(
    _WORST_FAILING,
    _errors(f" and on (job, http_route) {_WORST_FAILING.query}"),
    _OWN_ERRORS,
    _first(_FAILING),
    reason="error",
    error_filter=str,
    log_filter=_ERROR_LOGS,
)
OF_LATENCY = Investigation(
    _WORST_SLOW, _NEW_ERROR, (), _first(_of_worst(_WORST_SLOW)), reason="objective"
)
OF_ROUTE_ERRORS = Investigation(
    None,
    _OWN_ERRORS,
    (),
    _first(_FAILING),
    reason="error",
    error_filter=str,
    log_filter=_ERROR_LOGS,
)
_OF_OWN_ROUTE = Investigation(None, _OWN_ERRORS[:1], (), _first(_OF_ROUTE))
OF_ROUTE_LATENCY = replace(_OF_OWN_ROUTE, reason="objective")
OF_ROUTE_CHANGE = _OF_OWN_ROUTE
"""Of a route that is slower than usual: its requests may keep the objective."""
OF_QUERIES = Investigation(statement=_first(_costliest(0, http_route=_ROUTE)))
OF_N_PLUS_ONE = Investigation(statement=_first(_REPEATED, _NAMED), reason="n_plus_one")
OF_SLOW_QUERIES = Investigation(None, _NEW_ERROR, (), _first(_SLOWEST), reason="objective")
OF_STATEMENT = Investigation(_SENDER, (), (), _first(_SENT, _NAMED))
OF_POOLS = Investigation(None, _errors(), (), _first(_BUSIEST))
OF_LOCKS = Investigation(reason="objective", trace_filter=_first(_WAITING))
OF_REQUESTS = Investigation(None, _NEW_ERROR)
OF_PROCESSES = Investigation(None, _NEW_ERROR, traces="")
OF_DEPENDENCIES = Investigation(
    None,
    _NEW_ERROR,
    traces="traces/",
    trace_filter=f"&q=server.address%3D{_escaped('$labels.server_address')}",
)

_BY_OBJECTIVE = '{{{{ if eq $labels.slo "latency" }}}}{}{{{{ else }}}}{}{{{{ end }}}}'


def of_budget(window: int) -> Investigation:
    """Of an error budget, whose objective is in the label ``slo``.

    Args:
        window: Seconds within which there are bad events for as long as it burns.
    """
    costliest = _by_route(_first(_OF_ROUTE), _first(_of_worst(_WORST)))
    return Investigation(
        _WORST,
        _errors(),
        _OWN_ERRORS,
        _BY_OBJECTIVE.format(costliest, _first(_FAILING)),
        reason=_BY_OBJECTIVE.format("objective", "error"),
        error_filter=lambda text: _BY_OBJECTIVE.format("", text),
        log_filter=_BY_OBJECTIVE.format("", _ERROR_LOGS),
        window=max(window, _WINDOW),
    )
