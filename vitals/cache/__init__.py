"""The cache: values that many requests need, invalidated when a database session commits.

The extra ``cache`` installs what it needs. ``docs/cache-tutorial.md`` begins with a service,
``docs/caching.md`` has all the rules. What is not imported from here may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitals.extras import needs_extra

if TYPE_CHECKING:
    from vitals.cache.cache import TIMEOUT_SECONDS, Cache
    from vitals.cache.core.cached_function import CachedFunction
    from vitals.cache.core.codec import Peek, Rendered
    from vitals.cache.core.metrics import Reporter
    from vitals.cache.core.namespace import Namespace
    from vitals.cache.core.store import InvalidationTarget, StoreUnavailableError, WriteIntent
    from vitals.cache.invalidation.outbox import outbox_table
    from vitals.cache.invalidation.pending_changes import Change
    from vitals.cache.invalidation.session_hooks import CacheInvalidator
    from vitals.cache.redis.client import RedisClient, connect_redis
    from vitals.cache.reporter import CacheReporter
    from vitals.cache.warmup.warmup import WarmUp

__all__ = [
    "TIMEOUT_SECONDS",
    "Cache",
    "CacheInvalidator",
    "CacheReporter",
    "CachedFunction",
    "Change",
    "InvalidationTarget",
    "Namespace",
    "Peek",
    "RedisClient",
    "Rendered",
    "Reporter",
    "StoreUnavailableError",
    "WarmUp",
    "WriteIntent",
    "connect_redis",
    "outbox_table",
]

_MODULES = {
    "TIMEOUT_SECONDS": "cache",
    "Cache": "cache",
    "CacheInvalidator": "invalidation.session_hooks",
    "CacheReporter": "reporter",
    "CachedFunction": "core.cached_function",
    "Change": "invalidation.pending_changes",
    "InvalidationTarget": "core.store",
    "Namespace": "core.namespace",
    "Peek": "core.codec",
    "RedisClient": "redis.client",
    "Rendered": "core.codec",
    "Reporter": "core.metrics",
    "StoreUnavailableError": "core.store",
    "WarmUp": "warmup.warmup",
    "WriteIntent": "core.store",
    "connect_redis": "redis.client",
    "outbox_table": "invalidation.outbox",
}


def __getattr__(name: str) -> Any:
    """Import lazily: without SQLAlchemy there is no invalidator, without redis-py no Redis."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("cache,sql", f"vitals.cache.{name}"):
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
