"""A service that uses only `instrument`."""

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from vitals import Objective, instrument

app = FastAPI()
engine = create_async_engine("sqlite+aiosqlite://")
instrument(app, engine=engine, objectives=[Objective("latency", ratio=0.99, within=0.1)])


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("SELECT 'hello ' || :name"), {"name": name}))
