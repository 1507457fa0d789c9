"""Observer: polls Prometheus, Alertmanager and the inbox for all drills at once."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from stack import readiness
from stack.installation.ports import Ports

POLL_SECONDS = 0.25
"""Seconds between two polls."""
_Found = TypeVar("_Found")
Alert = Mapping[str, Any]


class Observer:
    """The last polled state of Prometheus, Alertmanager and the inbox.

    Args:
        ports: Their ports.
        client: HTTP client.

    Attributes:
        alerts: Prometheus's active alerts.
        alertmanager_alerts: Alertmanager's alerts.
        notifications: Notifications in the inbox, newest first.
        messages: Slack messages in the inbox, newest first.
    """

    def __init__(self, ports: Ports, client: httpx.AsyncClient) -> None:
        self._ports = ports
        self._client = client
        self._polled = asyncio.Condition()
        self.alerts: list[Alert] = []
        self.alertmanager_alerts: list[Alert] = []
        self.notifications: list[Alert] = []
        self.messages: list[Alert] = []

    async def poll(self) -> None:
        """Poll until cancelled; the last state of a server that does not respond is kept."""
        while True:
            await asyncio.gather(
                self._poll_prometheus(), self._poll_alertmanager(), self._poll_inbox()
            )
            async with self._polled:
                self._polled.notify_all()
            await asyncio.sleep(POLL_SECONDS)

    async def wait_for(self, condition: Callable[[], _Found], seconds: float) -> _Found | None:
        """Wait until a condition is true; its value, or None after the timeout."""
        try:
            async with asyncio.timeout(seconds), self._polled:
                while not (found := condition()):
                    await self._polled.wait()
                return found
        except TimeoutError:
            return None

    async def query(self, promql: str) -> float:
        """The first value of a query's result; 0 if it is empty."""
        path = "/api/v1/query"
        found = await self._get(self._ports.prometheus, path, params={"query": promql})
        result = found["data"]["result"] if found else []
        return float(result[0]["value"][1]) if result else 0.0

    async def results(self, promql: str) -> int:
        """The number of series that a query returns.

        Raises:
            httpx.HTTPStatusError: Prometheus refuses the query.
        """
        url = f"http://{readiness.LOOPBACK}:{self._ports.prometheus}/api/v1/query"
        response = await self._client.post(url, data={"query": promql})
        return len(response.raise_for_status().json()["data"]["result"])

    async def rules(self) -> list[Alert]:
        """The alerting rules."""
        found = await self._get(self._ports.prometheus, "/api/v1/rules", params={"type": "alert"})
        groups = found["data"]["groups"] if found else []
        return [rule for group in groups for rule in group["rules"]]

    async def matches(self, matchers: list[str]) -> list[Alert]:
        """Alertmanager's alerts that match, such as ``job="api"``."""
        params = {"filter": matchers}
        return await self._get(self._ports.alertmanager, "/api/v2/alerts", params=params) or []

    async def _poll_prometheus(self) -> None:
        if found := await self._get(self._ports.prometheus, "/api/v1/alerts"):
            self.alerts = found["data"]["alerts"]

    async def _poll_alertmanager(self) -> None:
        found = await self._get(self._ports.alertmanager, "/api/v2/alerts")
        self.alertmanager_alerts = self.alertmanager_alerts if found is None else found

    async def _poll_inbox(self) -> None:
        if found := await self._get(self._ports.inbox, "/"):
            self.notifications, self.messages = found["notifications"], found["messages"]

    async def _get(self, port: int, path: str, params: Any = None) -> Any:
        try:
            response = await self._client.get(
                f"http://{readiness.LOOPBACK}:{port}{path}", params=params
            )
            return response.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return None  # perhaps the fault itself; a wait that times out reports it
