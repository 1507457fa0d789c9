"""A service that leaks its input everywhere: in errors, logs, spans and SQL."""

import asyncio
import contextlib
import gc
import logging
import os
import warnings
from collections.abc import Awaitable, Callable

import httpx
import structlog
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from opentelemetry import trace
from pydantic import BaseModel, create_model
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from vitals import Objective, instrument

app = FastAPI()
engine = create_async_engine(os.environ["LEAKY_DATABASE"], echo=True)
instrument(
    app,
    engine=engine,
    objectives=[
        Objective("latency", ratio=0.9, within=1e-9),
        Objective("queries", ratio=0.9, within=1e-9),
    ],
    admin="leaky-test-administrator",
    trace_ratio=1.0,
    logs="json",
)
log, events = logging.getLogger("leaky"), structlog.get_logger("leaky")
Leak = Callable[[str], Awaitable[object]]
LEAKS: dict[str, Leak] = {}


def leak(function: Leak) -> Leak:
    LEAKS[function.__name__] = function
    return function


class Number(BaseModel):
    """A model that rejects text."""

    n: int


@leak
async def raised(secret: str) -> None:
    raise ValueError(f"bad password {secret}")


@leak
async def alone(secret: str) -> None:
    raise RuntimeError(secret)


@leak
async def key(secret: str) -> None:
    os.environ[secret]


@leak
async def parsed(secret: str) -> int:
    return int(secret)


@leak
async def decoded(secret: str) -> None:
    f"{secret}\u20ac".encode("ascii")


@leak
async def validated(secret: str) -> None:
    create_model("Login", password=(int, ...)).model_validate({"password": secret})


@leak
async def caused(secret: str) -> None:
    try:
        raise RuntimeError(f"token={secret}")  # noqa: TRY301
    except RuntimeError as error:
        raise ValueError("outer") from error


@leak
async def noted(secret: str) -> None:
    error = ValueError("noted")
    error.add_note(f"sent was {secret!r}")
    raise error


@leak
async def grouped(secret: str) -> None:
    raise ExceptionGroup("several", [ValueError(f"password={secret}"), KeyError(secret)])


@leak
async def named(secret: str) -> None:
    raise type(f"E{secret}", (ValueError,), {})("named")


@leak
async def logged(secret: str) -> None:
    log.warning("logged in with %s", secret)
    log.warning("%s", {"password": secret})
    log.warning("got %r", {"user": {"api_key": secret}})
    log.warning("x", extra={"password": secret})
    log.warning("GET /items?p=%s from http://bob:%s@shop.example/", secret, secret)


@leak
async def caught(secret: str) -> None:
    try:
        raise ValueError(f"password: {secret}")  # noqa: TRY301
    except ValueError as error:
        log.exception("oops", stack_info=True)
        log.error("failed: %s", error)  # noqa: TRY400  # as many do
        events.exception("oops", error=error, tried=[{"token": secret}])


@leak
async def structured(secret: str) -> None:
    with structlog.contextvars.bound_contextvars(session_token=secret):
        events.info("x", password=secret, deep={"list": [{"Passwort": secret}]})
        log.info("bound")
    events.info("validation", error=str(ValueError(f"the password is {secret}")))


@leak
async def warned(secret: str) -> None:
    warnings.warn(f"password={secret} is deprecated", stacklevel=1)


@leak
async def forgotten(secret: str) -> None:
    async def fail() -> None:
        raise ValueError(f"task {secret}")

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()


@leak
async def handled(secret: str) -> None:
    done = asyncio.Event()

    def fail() -> None:
        done.set()
        raise ValueError(f"callback {secret}")

    asyncio.get_running_loop().call_soon(fail)
    await done.wait()


@leak
async def traced(secret: str) -> None:
    span = trace.get_current_span()
    span.set_attribute("user.password", secret)
    span.set_attribute("note", f"the token is {secret}")
    span.add_event("tried", {"api_key": secret})
    span.record_exception(ValueError(f"password={secret}"))
    span.set_status(trace.Status(trace.StatusCode.ERROR, f"ValueError: bad password {secret}"))


@leak
async def asked(secret: str) -> None:
    async with httpx.AsyncClient() as client:
        with contextlib.suppress(httpx.HTTPError):
            await client.get(f"http://bob:{secret}@127.0.0.1:9/?token={secret}")
    log.warning("Request to http://127.0.0.1:9/?q=%s failed", secret)


async def send(sql: str, **values: object) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(sql), values)


@leak
async def bound(secret: str) -> None:
    await send("SELECT * FROM nowhere WHERE x = :secret", secret=secret)


@leak
async def cast(secret: str) -> None:
    await send("SELECT CAST(:secret AS int)", secret=secret)


@leak
async def unique(secret: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TEMP TABLE t (email text UNIQUE)"))
        for _ in range(2):
            await connection.execute(text("INSERT INTO t VALUES (:secret)"), {"secret": secret})


@leak
async def literal(secret: str) -> None:
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"SELECT nowhere('{secret}'), 'it''s {secret}'")


@leak
async def misread(secret: str) -> None:
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"SELECT '{secret}'::int FROM")


@leak
async def commented(secret: str) -> None:
    nested = "/*" * 9 + secret + "*/" * 9
    async with engine.connect() as connection:
        with contextlib.suppress(Exception):  # SQLite knows no nested ones
            await connection.exec_driver_sql(f"SELECT 1 {nested}")
        await connection.exec_driver_sql(f'SELECT 1 AS "{secret}"')


@leak
async def repeated(secret: str) -> None:
    async with engine.connect() as connection:
        for number in range(6):
            await connection.execute(
                text("SELECT :number WHERE :secret <> ''"), {"number": number, "secret": secret}
            )


@app.post("/leak/{kind}")
async def act(kind: str, request: Request, tasks: BackgroundTasks) -> None:
    secret = (await request.json())["secret"]
    if kind.startswith("later-"):
        tasks.add_task(LEAKS[kind.removeprefix("later-")], secret)
    else:
        await LEAKS[kind](secret)


@app.post("/validate")
async def validate(number: Number) -> Number:
    return number


@app.get("/answer", response_model=Number)
async def answer(secret: str) -> dict[str, str]:
    return {"n": secret}


@app.get("/open/{secret}")
async def show(secret: str) -> str:
    return secret


@app.websocket("/socket")
async def socket(connection: WebSocket) -> None:
    await connection.accept()
    raise ValueError(f"bad token {await connection.receive_text()}")
