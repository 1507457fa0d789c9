"""Reads JSON over HTTP from the store, within bounds of time and size."""

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT = 10.0
"""Seconds that the store may be silent."""
MAX_BYTES = 64_000_000
"""Most bytes of an answer: 5,000 lines with their tracebacks."""


class StoreError(RuntimeError):
    """The store does not answer, or not as expected; the message says what it said."""


class RefusedError(StoreError):
    """The store answers, and refuses this query: it asks for too much."""


class HttpClient:
    """Sends queries to one server.

    Args:
        url: Its URL, with the path below which its API is.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url}: must be a URL such as http://127.0.0.1:4318")
        self.url = url.rstrip("/")
        self._parts = parts

    def get(self, path: str, **parameters: str | float) -> Any:
        """The JSON of an answer; None if there is nothing at this path.

        Raises:
            StoreError: There is no answer, or another one.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        make = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = make(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT)
        try:
            connection.request(
                "GET",
                f"{self._parts.path.rstrip('/')}{path}{query}",
                headers={"Accept": "application/json"},
            )
            response = connection.getresponse()
            body = response.read(MAX_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise StoreError(f"{self.url} does not answer: {error!r}") from error
        finally:
            connection.close()
        if response.status == 404:  # noqa: PLR2004
            return None
        if response.status != 200 or len(body) > MAX_BYTES:  # noqa: PLR2004
            said = body[:300].decode(errors="replace").strip()
            kind = RefusedError if response.status in {400, 422, 429, 500} else StoreError
            raise kind(f"{self.url}{path} answers {response.status}: {said}")
        try:
            return json.loads(body)
        except ValueError as error:
            raise StoreError(f"{self.url}{path} answers no JSON") from error
