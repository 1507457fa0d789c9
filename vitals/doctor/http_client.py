"""HTTP requests that end in time, however the other side behaves."""

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

MAX_BYTES = 64 << 20
"""Most bytes of a response; a page of metrics has a few hundred kB."""

_CHUNK = 1 << 16


class UnreachableError(Exception):
    """Nothing answered, or not in time; says why."""


@dataclass(frozen=True)
class Answer:
    """A response, whatever its status."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _KeepRedirects(urllib.request.HTTPRedirectHandler):
    """Returns redirects instead of following them, for example with a token to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class HttpClient:
    """Sends requests to one server, without proxies.

    Args:
        base: Its address, such as ``http://127.0.0.1:9090``.
        timeout: Seconds that a request may take as a whole.
    """

    def __init__(self, base: str, timeout: float) -> None:
        self.base = base.rstrip("/")
        self._timeout = timeout
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _KeepRedirects()
        )

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **query: str) -> Answer:
        """Send a GET request.

        Raises:
            UnreachableError: Nothing answered in time.
        """
        encoded = "?" + urllib.parse.urlencode(query) if query else ""
        return self._send("GET", path + encoded, headers or {})

    def post(self, path: str, content: Any) -> Answer:
        """Post JSON.

        Raises:
            UnreachableError: Nothing answered in time.
        """
        headers = {"content-type": "application/json"}
        return self._send("POST", path, headers, json.dumps(content).encode())

    def delete(self, path: str) -> Answer:
        """Send a DELETE request.

        Raises:
            UnreachableError: Nothing answered in time.
        """
        return self._send("DELETE", path, {})

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        request = urllib.request.Request(  # noqa: S310  # http or https, see vitals.doctor.command
            self.base + path, body, {"connection": "close", **headers}, method=method
        )
        deadline = time.monotonic() + self._timeout
        try:
            try:
                response = self._opener.open(request, timeout=self._timeout)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                content = self._read(response, deadline)
                return Answer(response.status or 0, response.headers, content)
        except urllib.error.URLError as error:
            raise UnreachableError(_reason(error.reason)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(_reason(error)) from None

    def _read(self, response: Any, deadline: float) -> bytes:
        parts = []
        size = 0
        while chunk := response.read1(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if time.monotonic() > deadline:
                raise TimeoutError
            if size > MAX_BYTES:
                raise UnreachableError(f"its response is longer than {MAX_BYTES >> 20} MB")
        return b"".join(parts)


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, http.client.HTTPException):
        return "what answers there does not speak HTTP"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
