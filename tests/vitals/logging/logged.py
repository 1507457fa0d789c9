"""A service that sets up logging in the order that its environment names."""

import logging
import logging.config
import os

import uvicorn
from fastapi import FastAPI

from vitals import Objective, instrument

app = FastAPI()
CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,  # such as the server's
    "formatters": {"plain": {"format": "HOST %(name)s %(message)s [%(http_route)s]"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "INFO", "handlers": ["console"]},
}


@app.get("/items/{item}")
async def item(item: str) -> str:
    logging.getLogger("shop").info("bought")
    return item


def set_up() -> None:
    logging.config.dictConfig(CONFIG)


if os.environ["ORDER"] == "host first":
    set_up()
instrument(
    app,
    logs="json" if os.environ["LOGS"] == "json" else "host",
    objectives=[Objective("latency", ratio=0.9, within=1e-9)],
)
if os.environ["ORDER"] == "kit first":
    set_up()

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]))  # which configures logging once more
