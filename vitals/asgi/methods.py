"""Methods of HTTP requests that have a label value of their own."""

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)

OTHER_METHOD = "_OTHER"
"""The label value of all others, as in OpenTelemetry's semantic conventions."""
