"""Faults that are errors of a service: one that is new, and one that comes back."""

import asyncio
import secrets
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from stack import readiness
from stack.drills.fault import Fault, TargetService

if TYPE_CHECKING:
    from stack.drills.environment import Environment

FAILING = TargetService("failing")
_POLL_SECONDS = 0.5
_ISSUE_SECONDS = 60.0


async def _new_error(environment: "Environment") -> None:
    async with _failing(environment):
        await asyncio.Event().wait()


async def _reopened_error(environment: "Environment") -> None:
    async with _failing(environment) as (function, fingerprint):
        await _resolve(environment, fingerprint)
        await _fail(environment, function)
        await asyncio.Event().wait()


@asynccontextmanager
async def _failing(environment: "Environment") -> AsyncIterator[tuple[str, str]]:
    """Cause an error that never was before; its function and its issue, resolved afterwards."""
    # Letters only: a fingerprint leaves out the numbers of generated names.
    function = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
    await _fail(environment, function)
    fingerprint = await _find(environment, function)
    try:
        yield function, fingerprint
    finally:
        await _resolve(environment, fingerprint)


async def _fail(environment: "Environment", function: str) -> None:
    await environment.client.get(
        f"{environment.base(FAILING.job)}/fail", params={"function": function}
    )


async def _find(environment: "Environment", function: str) -> str:
    """The fingerprint of an issue, once the issue tracker knows it."""
    async with asyncio.timeout(_ISSUE_SECONDS):
        while True:
            query = {"service": FAILING.job, "q": function}
            response = await environment.client.get(_tracker(environment), params=query)
            issues: list[dict[str, Any]] = response.raise_for_status().json()["issues"]
            if issues:
                return str(issues[0]["fingerprint"])
            await asyncio.sleep(_POLL_SECONDS)


async def _resolve(environment: "Environment", fingerprint: str) -> None:
    address = f"{_tracker(environment)}/{fingerprint}/resolve"
    (await environment.client.post(address, json={})).raise_for_status()


def _tracker(environment: "Environment") -> str:
    return f"http://{readiness.LOOPBACK}:{environment.here.ports.issues}/api/v1/issues"


FAULTS = {
    "ErrorNew": Fault(
        "a route fails in a function that never failed before",
        _new_error,
        FAILING.job,
        targets=(FAILING,),
        lane=FAILING.job,
        labels={"http_route": "/fail"},
        notifies_end=False,
    ),
    "ErrorReopened": Fault(
        "an error occurs again after its issue was resolved",
        _reopened_error,
        FAILING.job,
        targets=(FAILING,),
        lane=FAILING.job,
        labels={"http_route": "/fail"},
        notifies_end=False,
    ),
}
"""By the alert that must fire."""
