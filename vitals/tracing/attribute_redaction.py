"""Redaction of the attributes of spans that others have made."""

from collections.abc import Mapping
from typing import Any

from vitals.redactor import Redactor

OWN_TRACER = "vitals"
"""Name of the kit's tracer, whose spans contain no values."""

_PATHS = ("url.path", "http.target")
_ROUTE, _QUERY = "http.route", "url.query"


def redact_attributes(redactor: Redactor, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a span; paths become route templates, because a path may hold a token."""
    redacted = redactor.attributes(attributes)
    route = attributes.get(_ROUTE)
    for name in (*_PATHS, _QUERY):
        redacted.pop(name, None)
    if route is not None:
        redacted |= {name: route for name in _PATHS if name in attributes}
    return redacted
