"""Serves a foreign service: ``python -m`` this with a file, a port, and the name of a mutation.

It is late to store what it has loaded, and to end a write intent, as a busy process is: others read
and write in between.
"""

import asyncio
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import uvicorn

from tests.vitals.cache.consistency import mutations
from vitals.cache.redis.store import RedisStore

LATE_SECONDS = (0, 0.005, 0.05)


def _late(method: Any) -> Any:
    async def late(*arguments: Any) -> Any:
        await asyncio.sleep(random.choice(LATE_SECONDS))  # noqa: S311 - a test
        return await method(*arguments)

    return late


def main() -> None:
    """Serve until the process is ended."""
    file, port, mutation = sys.argv[1:]
    mutations.apply(mutation)
    RedisStore.fill = _late(RedisStore.fill)  # type: ignore[method-assign]
    RedisStore.invalidate = _late(RedisStore.invalidate)  # type: ignore[method-assign]
    spec = importlib.util.spec_from_file_location("shop", Path(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    uvicorn.run(module.app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
