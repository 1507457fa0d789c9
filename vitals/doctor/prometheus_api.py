"""Prometheus's HTTP API, as far as the doctor needs it."""

from typing import Any

from vitals.doctor.application import Page
from vitals.doctor.http_client import HttpClient, UnreachableError


class ApiError(Exception):
    """Prometheus refused a request; says why."""


class PrometheusApi:
    """One Prometheus.

    Args:
        client: Sends requests to it.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    @property
    def address(self) -> str:
        """Its address."""
        return self._client.base

    def get(self, what: str, **query: str) -> Any:
        """The data of an endpoint of ``/api/v1``.

        Raises:
            ApiError: It refuses the request, or is no Prometheus.
            UnreachableError: Nothing answered in time.
        """
        answer = self._client.get(f"/api/v1/{what}", **query)
        content = answer.json()
        if not isinstance(content, dict) or content.get("status") not in {"success", "error"}:
            raise ApiError(f"/api/v1/{what} responds with {answer.status}, and not as Prometheus")
        if content["status"] == "error":
            raise ApiError(str(content.get("error", answer.status)))
        return content["data"]

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The series of an instant query; a scalar has none.

        Raises:
            ApiError: It refuses the query.
            UnreachableError: Nothing answered in time.
        """
        data = self.get("query", query=promql)
        return data["result"] if data["resultType"] in {"vector", "matrix"} else []

    def own_metrics(self) -> Page | None:
        """Its own page of metrics; None if it has none."""
        try:
            return Page.parse(self._client.get("/metrics").text)
        except (UnreachableError, ValueError):
            return None
