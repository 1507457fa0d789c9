"""What the watch says, looked at again and again for all drills at once."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from stack import readiness
from stack.installation.ports import Ports

EVERY = 0.25
"""Seconds between two looks."""
_Found = TypeVar("_Found")
Alert = Mapping[str, Any]


class Sight:
    """The last look at Prometheus, Alertmanager and the inbox.

    Args:
        ports: Where they are.
        client: Asks them.

    Attributes:
        alerts: Prometheus's active alerts.
        known: What Alertmanager holds.
        notes: What arrived in the inbox, newest first.
        messages: What people would read there, newest first.
    """

    def __init__(self, ports: Ports, client: httpx.AsyncClient) -> None:
        self._ports = ports
        self._client = client
        self._looked = asyncio.Condition()
        self.alerts: list[Alert] = []
        self.known: list[Alert] = []
        self.notes: list[Alert] = []
        self.messages: list[Alert] = []

    async def keep_looking(self) -> None:
        """Look until cancelled; what does not answer is seen as it was before."""
        while True:
            await asyncio.gather(self._ask_prometheus(), self._ask_alertmanager(), self._read())
            async with self._looked:
                self._looked.notify_all()
            await asyncio.sleep(EVERY)

    async def until(self, holds: Callable[[], _Found], seconds: float) -> _Found | None:
        """Wait until something holds; what it found, or None if that took too long."""
        try:
            async with asyncio.timeout(seconds), self._looked:
                while not (found := holds()):
                    await self._looked.wait()
                return found
        except TimeoutError:
            return None

    async def ask(self, promql: str) -> float:
        """The first value of an answer; 0 when there is none."""
        path = "/api/v1/query"
        found = await self._get(self._ports.prometheus, path, params={"query": promql})
        result = found["data"]["result"] if found else []
        return float(result[0]["value"][1]) if result else 0.0

    async def rules(self) -> list[Alert]:
        """The rules that alert."""
        found = await self._get(self._ports.prometheus, "/api/v1/rules", params={"type": "alert"})
        groups = found["data"]["groups"] if found else []
        return [rule for group in groups for rule in group["rules"]]

    async def matches(self, matchers: list[str]) -> list[Alert]:
        """What Alertmanager finds by matchers such as ``job="api"``."""
        params = {"filter": matchers}
        return await self._get(self._ports.alertmanager, "/api/v2/alerts", params=params) or []

    async def _ask_prometheus(self) -> None:
        if found := await self._get(self._ports.prometheus, "/api/v1/alerts"):
            self.alerts = found["data"]["alerts"]

    async def _ask_alertmanager(self) -> None:
        found = await self._get(self._ports.alertmanager, "/api/v2/alerts")
        self.known = self.known if found is None else found

    async def _read(self) -> None:
        if found := await self._get(self._ports.inbox, "/"):
            self.notes, self.messages = found["notifications"], found["messages"]

    async def _get(self, port: int, path: str, params: Any = None) -> Any:
        try:
            answer = await self._client.get(
                f"http://{readiness.LOOPBACK}:{port}{path}", params=params
            )
            return answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return None  # broken on purpose, perhaps; whoever waits in vain says so
