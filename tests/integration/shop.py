"""A small foreign service with two faults to inject; it knows of the kit and nothing else."""

import os

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from vitals import Objective, instrument

engine = create_async_engine(os.environ["SHOP_DATABASE_URL"], pool_size=10)
app = FastAPI()
instrument(
    app,
    engine=engine,
    service_name="shop",
    objectives=[
        Objective("availability", ratio=0.999),
        Objective("latency", ratio=0.95, within=0.25),
        Objective("queries", ratio=0.95, within=0.25),
    ],
)


@app.get("/items")
async def items(pause: float = 0.0) -> int:
    """Ask the database; with a pause, slowly."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(:pause)"), {"pause": pause})
        return 1


@app.get("/broken")
async def broken() -> None:
    """Fail."""
    raise RuntimeError("injected")
