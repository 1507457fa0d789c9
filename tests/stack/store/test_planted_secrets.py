"""Secrets planted wherever a service can have some: none is in the store, the issues or metrics.

Pages of traces, logs and issues show what these answer, and messages what metrics have as labels.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import BackgroundTasks, FastAPI, Request
from opentelemetry import baggage, trace
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from stack.issues import issue_views
from tests.stack.issues.reporting import Tracker
from tests.stack.store.storing import Store, storing
from vitals import BodyLogging, HttpClients, Objective, Validation, instrument
from vitals.errors import counter
from vitals.logging import record_context

pytestmark = pytest.mark.servers
TOKEN = "hunter2xQ9vTzz71"
"""Looks like a secret wherever it stands."""
WORD = "opensesame"
"""Is one only by the name beside it."""
log = logging.getLogger("shop")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


def service(store: Store) -> FastAPI:  # noqa: C901  # one endpoint for each way in
    app = FastAPI()
    engine = create_async_engine("sqlite+aiosqlite://")
    instrument(
        app,
        engine=engine,
        service_name="shop",
        otlp_endpoint=f"http://127.0.0.1:{store.port}",
        trace_ratio=1.0,
        objectives=[Objective("latency", 0.9, within=1e-9), Objective("queries", 0.9, within=1e-9)],
        body_logging=BodyLogging(share=1.0),
        validation=Validation(),
        probes=[HttpClients()],
    )

    async def send(statement: str, **values: Any) -> None:
        with suppress(DBAPIError):
            async with engine.connect() as connection:
                await connection.execute(text(statement), values)

    @app.post("/sql")
    async def sql() -> dict[str, str]:
        await send(f"SELECT '{TOKEN}', '{WORD}'")
        await send(f"SELECT * FROM missing WHERE password = '{WORD}' AND pin = :pin", pin=WORD)  # noqa: S608
        await send(f"INSERT INTO missing (token) VALUES ('{TOKEN}') -- {TOKEN}")  # noqa: S608
        return {"password": WORD, "access_token": TOKEN}

    @app.post("/logs")
    async def logs(request: Request) -> None:
        log.warning("login as %s: password=%s", "ada", WORD)
        log.error("cannot connect to postgresql://app:%s@db/shop", WORD)
        log.warning(
            "refused", extra={"password": WORD, "user": {"api_key": WORD, "tokens": [TOKEN]}}
        )
        log.warning(
            "keys", extra={"keys": [f"token={TOKEN}", f"password={WORD}"], "tokens": (TOKEN,)}
        )
        log.warning("headers %s", dict(request.headers))
        log.error(f"secret: {WORD}")  # noqa: G004
        try:
            raise KeyError(TOKEN)  # noqa: TRY301
        except KeyError:
            log.exception("token=%s was refused", TOKEN, extra={"client_secret": WORD})

    @app.post("/raises/{key}")
    async def raises(key: str) -> None:
        try:
            raise LookupError(f"https://app:{WORD}@shop.example/?token={TOKEN}")  # noqa: TRY301
        except LookupError as error:
            failure = ValueError(f"login failed: password={WORD} for {key}")
            failure.add_note(f"the token was {TOKEN}")
            raise failure from error

    @app.post("/spans")
    async def spans() -> None:
        tracer = trace.get_tracer("shop")
        with tracer.start_as_current_span(f"pay with token={TOKEN}") as span:
            span.set_attribute("password", WORD)
            span.set_attribute("shop.note", f"api_key={WORD}")
            span.set_attribute("shop.list", [TOKEN, f"password={WORD}"])
            span.add_event(f"paid by {TOKEN}", {"secret": WORD, "text": f"token: {TOKEN}"})
            span.set_status(trace.StatusCode.ERROR, f"refused: password={WORD}")
            span.record_exception(RuntimeError(f"Authorization: Bearer {TOKEN}"))
        for name, value in baggage.get_all().items():
            log.warning("baggage %s=%s", name, value)

    @app.post("/calls")
    async def calls() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            with suppress(httpx.HTTPError):
                await client.get(f"http://app:{WORD}@127.0.0.1:9/{TOKEN}?token={TOKEN}")

    def fail() -> None:
        raise PermissionError(f"password={WORD} of {TOKEN}")

    @app.post("/work")
    async def work(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)

    return app


HEADERS = {
    "Authorization": f"Bearer {TOKEN}",
    "Cookie": f"session={TOKEN}",
    "X-Api-Key": WORD,
    "User-Agent": f"robot/1.0 (password={WORD}; {TOKEN})",
    "Referer": f"https://app:{WORD}@shop.example/?token={TOKEN}",
    "tracestate": f"shop={TOKEN}",
    "baggage": f"token={TOKEN},password={WORD}",
}
PATHS = ("/sql", "/logs", f"/raises/{TOKEN}", "/spans", "/calls", "/work", f"/nowhere/{TOKEN}")
BODY = {"password": WORD, "note": f"my token is {TOKEN}", "card": {"cvv": WORD}}


def serve(app: FastAPI) -> str:
    """Send every secret to every path; returns the metrics."""

    async def run() -> str:
        async with LifespanManager(app) as manager:
            transport = httpx.ASGITransport(
                manager.app, raise_app_exceptions=False, client=("127.0.0.1", 1)
            )
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                for path in PATHS:
                    url = f"{path}?token={TOKEN}&password={WORD}"
                    await client.post(url, headers=HEADERS, json=BODY)
                    await client.post(url, headers=HEADERS, content=f'{{"password": "{WORD}", "x"')
                with trace.get_tracer("shop").start_as_current_span(f"job of {TOKEN}") as job:
                    job.set_attributes({"token": WORD, "shop.list": [TOKEN]})
                    job.set_status(trace.StatusCode.ERROR, f"password={WORD}")
                return (await client.get("/metrics")).text

    return asyncio.run(run())


def answers(store: Store) -> dict[str, str]:
    """All that the store answers, by what was asked for."""
    found = store.search("{ }", limit=1000)
    texts = {"search": str(found)}
    for each in found:
        answer = store.client.get(f"/api/v2/traces/{each['traceID']}")
        texts[f"trace {each.get('rootTraceName')}"] = answer.text
    selector = '{service_name="shop"}'
    parameters: dict[str, str] = {"query": selector, "limit": "5000"}
    texts["lines"] = store.client.get("/loki/api/v1/query_range", params=parameters).text
    for scope in store.get("/api/v2/search/tags")["scopes"]:
        for tag in scope["tags"]:
            name = tag if scope["name"] == "intrinsic" else f"{scope['name']}.{tag}"
            texts[name] = store.client.get(f"/api/v2/search/tag/{name}/values").text
    return texts


def test_no_planted_secret_leaves_the_service(store: Store, tmp_path: Path) -> None:
    counter._counters.clear()
    tracker = Tracker(store, tmp_path / "issues.sqlite3")
    tracker.collect()
    metrics = serve(service(store))
    tracker.collect()
    record_context.uninstall()
    listed = issue_views.listed(tracker.issues, {}, tracker.now)["issues"]
    shown = [issue_views.shown(tracker.issues, each["fingerprint"], tracker.now) for each in listed]
    tracker.issues.close()

    texts = {"metrics": metrics, "issues": str(shown), **answers(store)}
    for path in (*tmp_path.glob("issues*"), *store.data.rglob("*")):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    leaks = {
        f"{secret} in {name}: ...{text[max(0, text.find(secret) - 80) : text.find(secret) + 30]}"
        for name, text in texts.items()
        for secret in (TOKEN, WORD)
        if secret in text
    }
    assert not leaks, "\n".join(sorted(leaks))
    # All of it was looked at: each way in has left its trace, line or issue.
    for route in ("/sql", "/logs", "/raises/{key}", "/spans", "/calls", "/work"):
        assert f"trace POST {route}" in texts, texts.keys()
        assert route in texts["lines"]
    assert '"keys"' in texts["lines"]
    assert {"KeyError", "ValueError", "PermissionError"} <= {
        each["type"].rpartition(".")[2] for each in listed
    }
