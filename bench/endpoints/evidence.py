"""Findings of our tools on the naive endpoints: the bottleneck list, the plans, the advice."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from bench.endpoints import naive
from bench.endpoints.cases import Case, Client
from service.db.database import Database
from service.settings import Settings
from service.users.tables import User
from vitals.db.insight.bottlenecks_page import PATH
from vitals.db.insight.explain import explain
from vitals.db.statements.fingerprint import normalise
from vitals.db.statements.plans import Plan

CALLS = 3


@dataclass(frozen=True)
class Evidence:
    """The findings of one case.

    Attributes:
        statement: The statement that takes most of the time, without values.
        plan: Its execution plan.
        findings: All advice of the bottleneck list and of the plans.
    """

    statement: str
    plan: list[str]
    findings: list[str] = field(default_factory=list)

    def finding_for(self, case: Case) -> str:
        """The line that describes the fault; empty if there is none."""
        return next(
            (line for word in case.expected for line in self.findings if word in line),
            "",
        )


async def ranked(app: FastAPI, admin: User) -> list[dict[str, Any]]:
    """The bottleneck list, read by an admin."""
    reply = await Client(app).as_user(admin).get(PATH)
    found: list[dict[str, Any]] = json.loads(reply.body)["bottlenecks"]
    return found


async def ranking(settings: Settings, cases: Sequence[Case], admin: User) -> list[dict[str, Any]]:
    """The bottleneck list after equal use of all naive endpoints."""
    app = naive.app(settings)
    async with LifespanManager(app, startup_timeout=60, shutdown_timeout=60):
        for case in cases:
            client = Client(app).as_user(case.user)
            for _ in range(CALLS):
                await case.naive(client)
        return await ranked(app, admin)


async def of(settings: Settings, case: Case, admin: User) -> Evidence:
    """Run one naive endpoint and collect the findings."""
    app = naive.app(settings)
    async with LifespanManager(app, startup_timeout=60, shutdown_timeout=60):
        sent = await _statements(app, case)
        statement = {text: await _plan(app, *sent[text]) for text in sent}
        plans = {
            text: plan for text, plan in statement.items() if plan
        }  # BEGIN, for example, has none
        found = [one for one in await ranked(app, admin) if one["text"] in plans]
    findings = [line for one in found for line in one["advice"]]
    findings += [line for plan in plans.values() for line in plan.notes]
    worst = found[0]["text"]
    return Evidence(worst, plans[worst].lines, list(dict.fromkeys(findings)))


async def _statements(app: FastAPI, case: Case) -> dict[str, tuple[str, Any]]:
    """The statements of a case by normalised text, with the last values."""
    sent: dict[str, tuple[str, Any]] = {}

    def record(*call: Any) -> None:
        sent[normalise(call[2])] = (call[2], call[3])

    database: Database = app.state.database
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        client = Client(app).as_user(case.user)
        for _ in range(CALLS):
            await case.naive(client)
    finally:
        event.remove(engine, "before_cursor_execute", record)
    return sent


async def _plan(app: FastAPI, sql: str, values: Any) -> Plan | None:
    database: Database = app.state.database
    async with database.writer.connect() as connection:
        try:
            return await connection.run_sync(explain, sql, values)
        except DBAPIError:
            return None
