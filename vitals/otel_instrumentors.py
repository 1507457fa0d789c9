"""Whether OpenTelemetry's own instrumentation of a library is in use, which makes its spans then.

Nothing is imported: what the host has not imported it does not use.
"""

import sys
from typing import Any

_INSTRUMENTORS = {
    "redis": ("redis", "RedisInstrumentor"),
    "httpx": ("httpx", "HTTPXClientInstrumentor"),
    "aiohttp": ("aiohttp_client", "AioHttpClientInstrumentor"),
    "requests": ("requests", "RequestsInstrumentor"),
    "urllib3": ("urllib3", "URLLib3Instrumentor"),
}


def is_instrumented(*libraries: str) -> bool:
    """Whether any of these libraries is instrumented by OpenTelemetry in this process."""
    for library in libraries:
        module, name = _INSTRUMENTORS[library]
        found: Any = sys.modules.get(f"opentelemetry.instrumentation.{module}")
        kind = getattr(found, name, None)
        if kind is not None and kind().is_instrumented_by_opentelemetry:
            return True
    return False


def is_suppressed() -> bool:
    """Whether the current call is not to be measured at all, such as an exporter's."""
    context: Any = sys.modules.get("opentelemetry.context")
    if context is None or not context.get_current():  # nothing is set, as outside of a trace
        return False
    utils: Any = sys.modules.get("opentelemetry.instrumentation.utils")
    return utils is not None and not utils.is_instrumentation_enabled()


def is_within_http_span() -> bool:
    """Whether somebody further out has a span of the current HTTP request."""
    utils: Any = sys.modules.get("opentelemetry.instrumentation.utils")
    return utils is not None and not utils.is_http_instrumentation_enabled()
