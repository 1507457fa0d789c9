"""What the door lets through: methods and exact paths of the pages, and of the APIs they use.

Paths are compared as they were sent, neither decoded nor cleaned, so no part behind the door reads
another path than the one that was allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

READ = ("GET", "HEAD")
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_NAME = r"[A-Za-z0-9_.:-]+"
"""Of a label or an attribute, as `encodeURIComponent` writes those without special characters."""


@dataclass(frozen=True)
class Upstreams:
    """Addresses (``HOST:PORT``) of what is behind the door; of a pair two, with a space between.

    Attributes:
        prometheus: It serves the pages too.
        alertmanager: The gate in front of it.
        store: Of traces, log lines and profiles.
        issues: The tracker of issues.
        logs: Of log lines, where the store is Tempo, which has neither these nor profiles.
    """

    prometheus: str
    alertmanager: str
    store: str
    issues: str
    logs: str = ""


@dataclass(frozen=True)
class Passage:
    """Requests that are let through.

    Attributes:
        name: A word.
        methods: Their methods.
        path: A regular expression (RE2) of their whole path.
        upstream: Where they go to; of several the first that answers.
        strip: What their path begins with and does not there.
        prepend: What it begins with there.
        websocket: Whether they are WebSockets.
        without: A regular expression of paths that are not let through all the same.
    """

    name: str
    methods: Sequence[str]
    path: str
    upstream: str
    strip: str = ""
    prepend: str = ""
    websocket: bool = False
    without: str = ""


STORE, ISSUES, ALERTMANAGER = "store", "tracker", "alertmanager"
"""First segments of the paths of APIs besides Prometheus'; `issues/` is a page."""
_APIS = ("api", STORE, ISSUES, ALERTMANAGER)


def of_viewer(to: Upstreams) -> list[Passage]:
    """The passages of the viewer, whose pages are at the root; APIs first."""
    issue = r"/tracker/api/v1/issues/[0-9A-Za-z_]{1,64}"

    def of_store(name: str, path: str, upstream: str = "", *, websocket: bool = False) -> Passage:
        strip = f"/{STORE}"
        return Passage(name, READ, strip + path, upstream or to.store, strip, websocket=websocket)

    def of_issues(name: str, methods: Sequence[str], path: str) -> Passage:
        return Passage(name, methods, path, to.issues, f"/{ISSUES}")

    def of_alertmanager(name: str, methods: Sequence[str], path: str) -> Passage:
        strip = f"/{ALERTMANAGER}"
        return Passage(name, methods, f"{strip}/api/v2/{path}", to.alertmanager, strip)

    return [
        Passage(
            "queries",
            (*READ, "POST"),  # a query may be too long for an address
            "/api/v1/(?:query|query_range|query_exemplars)",
            to.prometheus,
        ),
        Passage(
            "metadata",
            READ,
            f"/api/v1/(?:series|labels|label/{_NAME}/values|rules|targets|status/buildinfo)",
            to.prometheus,
        ),
        of_store("traces", r"/api/(?:search|v2/traces/[0-9A-Fa-f]{1,32})"),
        of_store("tags", rf"/api/v2/search/tag/{_NAME}/values"),
        of_store("lines", rf"/loki/api/v1/(?:query_range|label/{_NAME}/values)", to.logs),
        *(
            ()
            if to.logs
            else (of_store("profiles", "/pyroscope/(?:render|render-diff|label-values)"),)
        ),
        of_store("tail", "/loki/api/v1/tail", to.logs, websocket=True),
        of_issues("issues", READ, rf"/tracker/api/v1/issues|{issue}"),
        of_issues("issue_states", ("POST",), rf"{issue}/(?:resolve|ignore|reopen)"),
        of_alertmanager("silences", (*READ, "POST"), "silences"),
        of_alertmanager("expire", ("DELETE",), r"silence/[0-9A-Za-z-]{1,64}"),
        of_alertmanager("alerts", READ, "alerts"),
        Passage(
            "pages",
            READ,
            rf"/(?:{_SEGMENT}/)*(?:{_SEGMENT})?",
            to.prometheus,
            prepend="/user",
            without=rf"^/(?:{'|'.join(_APIS)})(?:[/?]|$)",
        ),
    ]
