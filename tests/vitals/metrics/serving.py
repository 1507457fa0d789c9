"""Demo service for several workers: each response is the pid of the worker that served it."""

import asyncio
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from vitals import instrument

app = FastAPI(title="serving")
instrument(app, logs=False)


@app.get("/jobs/{number}")
async def work(number: int) -> int:
    await asyncio.sleep(0.001 * (number % 5))
    return os.getpid()


@app.get("/stream")
async def stream() -> StreamingResponse:
    """Send the pid, then nothing, and never end."""

    async def body() -> AsyncIterator[str]:
        yield f"{os.getpid()}\n"
        await asyncio.Event().wait()

    return StreamingResponse(body())
