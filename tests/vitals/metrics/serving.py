"""Demo service for several workers: each response is the pid of the worker that served it."""

import asyncio
import os

from fastapi import FastAPI

from vitals import instrument

app = FastAPI(title="serving")
instrument(app, logs=False)


@app.get("/jobs/{number}")
async def work(number: int) -> int:
    await asyncio.sleep(0.001 * (number % 5))
    return os.getpid()
