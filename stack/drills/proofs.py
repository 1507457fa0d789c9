"""Proofs: what the example trace that a message links to must show of the injected cause.

The link is followed as the viewer's page does: the same search, by Tempo's API of the store, and of
its result the newest trace. See docs/viewer.md for the parameters.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

EXAMPLE = "/traces/example/"
"""The page of the viewer that opens an example trace."""
_ARRIVAL_SECONDS = 20.0
"""Time for the spans of a request to arrive in the store."""
_CONDITIONS = {
    "service": "resource.service.name",
    "route": "span.http.route",
    "reason": "span.vitals.kept",
}
FINGERPRINT = "vitals.db.query.fingerprint"


@dataclass(frozen=True)
class Span:
    """A span of a trace.

    Attributes:
        kind: ``SERVER``, ``CLIENT`` or another of OpenTelemetry's.
        seconds: Its duration.
        attributes: By name; all as text.
        events: Attributes of its events, with their name as ``event``.
    """

    name: str
    kind: str
    seconds: float
    attributes: dict[str, str]
    events: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Proof:
    """What a trace shows.

    Attributes:
        shows: In words, for the output.
        holds: Whether the spans of a trace show it.
    """

    shows: str
    holds: Callable[[Sequence[Span]], bool]


class NoProofError(AssertionError):
    """The link of a message leads to no trace, or to one that does not show the cause."""


def slow_request(seconds: float) -> Proof:
    """A request that took that long."""
    return Proof(
        f"a request of more than {seconds:g} s",
        lambda spans: any(each.kind == "SERVER" and each.seconds > seconds for each in spans),
    )


def slow_statement(seconds: float) -> Proof:
    """A statement that took that long, with the line that sent it."""
    return Proof(
        f"a statement of more than {seconds:g} s and its line",
        lambda spans: any(
            each.seconds > seconds and {FINGERPRINT, "code.line.number"} <= each.attributes.keys()
            for each in spans
        ),
    )


def repeated_statement(times: int) -> Proof:
    """One statement that a request sent that often."""

    def holds(spans: Sequence[Span]) -> bool:
        sent = Counter(each.attributes.get(FINGERPRINT, "") for each in spans)
        return any(count >= times for fingerprint, count in sent.items() if fingerprint)

    return Proof(f"a statement that was sent {times} times", holds)


def exception(name: str, where: str) -> Proof:
    """An exception of that class, or of any if it is empty, whose stack has that text."""
    return Proof(
        f"{f'a {name}' if name else 'an exception'} raised in {where}",
        lambda spans: any(
            event["event"] == "exception"
            and event.get("exception.type", "").endswith(name)
            and where in event.get("exception.stacktrace", "")
            for each in spans
            for event in each.events
        ),
    )


async def check(link: str, proof: Proof, store: str, client: httpx.AsyncClient) -> str:
    """Follow a message's link to its example trace, which must show the cause.

    Args:
        link: The link.
        proof: What the trace must show.
        store: URL of the store.
        client: HTTP client.

    Raises:
        NoProofError: It does not, or there is none.
    """
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    if not urlsplit(link).path.endswith(EXAMPLE) or not {"from", "to", "service"} <= query.keys():
        raise NoProofError(f"{link} does not lead to an example trace of a service and a time")
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while True:
        trace = await _newest(query, store, client)
        if trace is not None and proof.holds(trace):
            return f"the example trace shows {proof.shows}"
        if time.monotonic() > deadline:
            found = "no trace" if trace is None else f"a trace of {_summary(trace)}"
            raise NoProofError(f"{link} leads to {found}, not to {proof.shows}")
        await asyncio.sleep(1)


async def _newest(
    query: Mapping[str, str], store: str, client: httpx.AsyncClient
) -> list[Span] | None:
    conditions = " && ".join(
        f"{field} = {_quoted(query[name])}"
        for name, field in _CONDITIONS.items()
        if query.get(name)
    )
    searches = [f"{{ {conditions} }}"]
    if cause := query.get("q"):
        searches.insert(0, f"{searches[0]} && {_condition(cause)}")
    for search in searches:
        response = await client.get(
            f"{store}/api/search",
            params={
                "q": search,
                "start": int(query["from"]) // 1000,
                "end": -(-int(query["to"]) // 1000),
                "limit": 20,
            },
        )
        if traces := response.raise_for_status().json().get("traces"):
            break
    else:
        return None
    newest = max(traces, key=lambda each: int(each["startTimeUnixNano"]))
    response = await client.get(f"{store}/api/traces/{newest['traceID']}")
    return list(spans_of(response.raise_for_status().json()))


def _condition(cause: str) -> str:
    """The parameter ``q`` as messages have it: TraceQL in braces, or one attribute and its text."""
    if cause.startswith("{"):
        return cause
    attribute, _, text = cause.partition("=")
    return f"{{ .{attribute} = {text} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def spans_of(trace: Mapping[str, Any]) -> Iterator[Span]:
    """The spans of a trace as Tempo's API answers it."""
    for batch in trace["batches"]:
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                ends, starts = (int(span[f"{at}TimeUnixNano"]) for at in ("end", "start"))
                yield Span(
                    span.get("name", ""),
                    str(span.get("kind", "")).removeprefix("SPAN_KIND_"),
                    (ends - starts) / 1e9,
                    _attributes(span),
                    tuple(
                        {"event": event.get("name", ""), **_attributes(event)}
                        for event in span.get("events", ())
                    ),
                )


def _attributes(of: Mapping[str, Any]) -> dict[str, str]:
    return {
        each["key"]: str(next(iter(each.get("value", {}).values()), ""))
        for each in of.get("attributes", ())
    }


def _summary(spans: Sequence[Span]) -> str:
    return ", ".join(f"{each.name} ({each.seconds:.3f} s)" for each in spans[:10])
