import asyncio
import time

from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from vitals import instrument
from vitals.catalogue import BUILD_INFO, EVENT_LOOP_LAG
from vitals.testing import Readings


def test_a_blocked_loop_is_seen_and_the_watch_ends_with_the_application() -> None:
    app = FastAPI(version="3.1")
    instrument(app, logs=False, revision="abc")

    async def run() -> None:
        async with LifespanManager(app):
            await asyncio.sleep(0.15)
            time.sleep(0.3)  # noqa: ASYNC251  # the fault
            await asyncio.sleep(0.15)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    readings = Readings.of(app)
    late = readings.value(EVENT_LOOP_LAG, "_count") - readings.value(
        EVENT_LOOP_LAG, "_bucket", le="0.1"
    )
    assert late == 1
    assert readings.series(BUILD_INFO) == [{"version": "3.1", "revision": "abc"}]
