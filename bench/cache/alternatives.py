"""Other caches for Python, each used as its documentation says.

They are installed, in the versions below, into a temporary folder: they are not dependencies of
this project.
"""

import asyncio
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from bench.cache.source import TTL_SECONDS, Cached, Source

PACKAGES = (
    "aiocache==0.12.3",
    "cashews==7.6.0",
    "dogpile.cache==1.5.0",
    "fastapi-cache2==0.2.2",
    # Their dependencies that this project does not have:
    "decorator==5.3.1",
    "pendulum==3.3.0",
    "python-dateutil==4.0.0",
    "six==1.17.0",
    "stevedore==5.10.0",
    "tzdata==2026.6",
)


def install(folder: Path) -> None:
    """Install them and add them to the import path.

    Raises:
        subprocess.CalledProcessError: The package index is not reachable.
    """
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", *command, *PACKAGES], check=True, stdout=sys.stderr
    )
    sys.path.append(str(folder))


class Cashews:
    """cashews, with or without its lock across processes."""

    def __init__(self, url: str, source: Source, *, lock: bool = False) -> None:
        from cashews import Cache  # noqa: PLC0415

        self._cache: Any = Cache()
        self._cache.setup(url)
        prefix = "cashews-lock" if lock else "cashews"
        self._prefix = prefix
        self._get: Any = self._cache(ttl=TTL_SECONDS, key=prefix + ":{key}", lock=lock)(
            _named(source)
        )

    async def get(self, key: str) -> object:
        """Get the value."""
        return await self._get(key=key)

    async def invalidate(self, key: str) -> None:
        """Invalidate it."""
        await self._cache.delete(f"{self._prefix}:{key}")

    async def close(self) -> None:
        """Close connections."""
        await self._cache.close()


class Aiocache:
    """aiocache, with or without its protection against stampedes."""

    def __init__(self, url: str, source: Source, *, stampede: bool = False) -> None:
        from aiocache import (  # noqa: PLC0415
            Cache,
            cached,
            cached_stampede,
        )
        from aiocache.serializers import (  # noqa: PLC0415
            JsonSerializer,
        )

        log = logging.getLogger("aiocache")  # logs a traceback for each failed lookup
        log.addHandler(logging.NullHandler())
        log.propagate = False
        address = urlsplit(url)
        prefix = "aiocache-stampede" if stampede else "aiocache"
        options: dict[str, Any] = {
            "ttl": TTL_SECONDS,
            "cache": Cache.REDIS,
            "serializer": JsonSerializer(),
            "endpoint": address.hostname,
            "port": address.port,
            "key_builder": lambda _call, key: f"{prefix}:{key}",
        }
        decorate = cached_stampede(lease=2, **options) if stampede else cached(**options)
        self._prefix = prefix
        self._get: Any = decorate(_named(source))

    async def get(self, key: str) -> object:
        """Get the value."""
        return await self._get(key)

    async def invalidate(self, key: str) -> None:
        """Invalidate it."""
        await self._get.cache.delete(f"{self._prefix}:{key}")

    async def close(self) -> None:
        """Close connections."""
        await self._get.cache.close()


class FastapiCache:
    """fastapi-cache2."""

    def __init__(self, url: str, source: Source) -> None:
        from fastapi_cache import FastAPICache  # noqa: PLC0415
        from fastapi_cache.backends.redis import (  # noqa: PLC0415
            RedisBackend,
        )
        from fastapi_cache.decorator import (  # noqa: PLC0415
            cache,
        )

        self._client: Any = Redis.from_url(url)
        self._backend = RedisBackend(self._client)
        FastAPICache.reset()
        FastAPICache.init(self._backend, prefix="fastapi-cache")

        def name(_call: object, *_: object, kwargs: dict[str, str], **_others: object) -> str:
            return f"fastapi-cache:{kwargs['key']}"

        self._get: Any = cache(expire=TTL_SECONDS, key_builder=name)(_named(source))

    async def get(self, key: str) -> object:
        """Get the value."""
        return await self._get(key=key)

    async def invalidate(self, key: str) -> None:
        """Invalidate it."""
        await self._backend.clear(key=f"fastapi-cache:{key}")

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()


class Dogpile:
    """dogpile.cache, which is synchronous: called in threads."""

    def __init__(self, url: str, source: Source) -> None:
        from dogpile.cache import make_region  # noqa: PLC0415

        self._threads = ThreadPoolExecutor(64)
        self._source = source
        self._region: Any = make_region().configure(
            "dogpile.cache.redis",
            expiration_time=TTL_SECONDS,
            arguments={"url": url, "distributed_lock": True, "thread_local_lock": False},
        )

    async def get(self, key: str) -> object:
        """Get the value."""
        return await self._threaded(self._read, key)

    def _read(self, key: str) -> object:
        return self._region.get_or_create(
            f"dogpile:{key}", self._source.load_blocking, creator_args=((key,), {})
        )

    async def invalidate(self, key: str) -> None:
        """Invalidate it."""
        await self._threaded(self._region.delete, f"dogpile:{key}")

    async def _threaded(self, call: Any, key: str) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, key)

    async def close(self) -> None:
        """Close connections."""
        self._threads.shutdown()


def _named(source: Source) -> Any:
    """The load as a plain function, as decorators expect it."""

    async def load(key: str) -> Any:
        return await source.load(key)

    return load


def make(name: str, url: str, source: Source) -> Cached:
    """Create an alternative by its name.

    Raises:
        ValueError: There is none of this name.
    """
    if name == "cashews":
        return Cashews(url, source)
    if name == "cashews, lock":
        return Cashews(url, source, lock=True)
    if name == "aiocache":
        return Aiocache(url, source)
    if name == "aiocache, stampede":
        return Aiocache(url, source, stampede=True)
    if name == "fastapi-cache2":
        return FastapiCache(url, source)
    if name == "dogpile.cache":
        return Dogpile(url, source)
    raise ValueError(f"no alternative {name!r}")


NAMES = (
    "cashews",
    "cashews, lock",
    "aiocache",
    "aiocache, stampede",
    "fastapi-cache2",
    "dogpile.cache",
)
