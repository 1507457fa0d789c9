"""What the watch says about one alert: its rule, its state, its notifications."""

from typing import Any

import httpx

from stack import probes
from stack.ports import Ports


class Watched:
    """One alert, as Prometheus, Alertmanager and the inbox see it."""

    def __init__(self, alert: str, ports: Ports, client: httpx.AsyncClient) -> None:
        """Look at an alert of the stack on these ports."""
        self.alert = alert
        self._ports = ports
        self._client = client

    async def patience(self) -> float:
        """Seconds that the rule waits: `for` and `keep_firing_for`; `LookupError` without rule."""
        for group in await self._groups():
            for rule in group["rules"]:
                if rule["name"] == self.alert:
                    return float(rule["duration"]) + float(rule.get("keepFiringFor", 0))
        raise LookupError(f"Prometheus knows no alert {self.alert}")

    async def state(self) -> str:
        """`inactive`, `pending` or `firing`."""
        answer = await self._ask(self._ports.prometheus, "/api/v1/alerts")
        states = {
            found["state"]
            for found in answer["data"]["alerts"]
            if found["labels"]["alertname"] == self.alert
        }
        return next((state for state in ("firing", "pending") if state in states), "inactive")

    async def held_back_by(self) -> set[str]:
        """What Alertmanager keeps it back for: names of other alerts, ids of silences."""
        found = await self._ask(self._ports.alertmanager, "/api/v2/alerts")
        names = {alert["fingerprint"]: alert["labels"]["alertname"] for alert in found}
        return {
            names.get(holder, holder)
            for alert in found
            if alert["labels"]["alertname"] == self.alert
            for holder in alert["status"]["inhibitedBy"] + alert["status"]["silencedBy"]
        }

    async def notifications(self, status: str) -> list[dict[str, str]]:
        """Its notifications in the inbox with a status, newest first."""
        inbox = await self._ask(self._ports.inbox, "/")
        return [
            note
            for note in inbox["notifications"]
            if note["alert"] == self.alert and note["status"] == status
        ]

    async def _groups(self) -> list[dict[str, Any]]:
        answer = await self._ask(self._ports.prometheus, "/api/v1/rules?type=alert")
        groups: list[dict[str, Any]] = answer["data"]["groups"]
        return groups

    async def _ask(self, port: int, path: str) -> Any:
        response = await self._client.get(f"http://{probes.LOOPBACK}:{port}{path}")
        return response.raise_for_status().json()
