"""Error types of a cache's store: what a command failed with, as a label value.

A server's refusal is named by the code that its reply begins with, as OpenTelemetry's conventions
for Redis say; any other failure by the class of its exception. Clients of Redis are an extra, so
they are known by name: redis-py gives most codes a class and takes them out of the text.
"""

import re

from vitals.asgi.request_context import error_type_of
from vitals.cache.core.store import StoreUnavailableError
from vitals.metrics.catalogue import CACHE_REFUSALS

_BY_CLASS = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
}
_CLIENTS = ("redis", "valkey", "coredis")
_NO_LOGIN = "Authentication required"
_CODE = re.compile(rf"(?:^|-)({'|'.join(CACHE_REFUSALS)})\b")  # a script of Redis 6 has it inside


def error_type(error: BaseException) -> str:
    """The type of an error of a store, as a label value."""
    while isinstance(error, StoreUnavailableError) and error.__cause__ is not None:
        error = error.__cause__
    return refusal_of(error) or error_type_of(error)


def refusal_of(error: BaseException | None) -> str:
    """The code with which a server refused, one of ``CACHE_REFUSALS``; empty if it did not."""
    while error is not None:
        if _is_of_client(error):
            if found := _CODE.search(str(error)[:200]):
                return found[1]
            for kind in type(error).__mro__:
                if code := _BY_CLASS.get(kind.__name__):
                    return "NOAUTH" if code == "WRONGPASS" and _NO_LOGIN in str(error) else code
        error = error.__cause__
    return ""


def _is_of_client(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in _CLIENTS for kind in type(error).__mro__)
