"""A service that the doctor examines; its page is protected if there is a token."""

import os

from fastapi import FastAPI

from vitals import Objective, instrument

app = FastAPI(title="examined")
instrument(
    app,
    logs=False,
    objectives=[Objective("latency", ratio=0.95, within=0.25)],
    metrics_path=os.environ.get("EXAMINED_PATH", "/metrics"),
    metrics_token=os.environ.get("EXAMINED_TOKEN"),
)


@app.get("/things")
async def things() -> list[int]:
    return [1, 2, 3]
