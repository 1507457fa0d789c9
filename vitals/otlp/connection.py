"""A connection to a collector that answers within a time, or counts as failed.

It is of the standard library's, which instrumentations of HTTP clients leave alone: exporting makes
no spans and no metrics of outgoing requests.
"""

import gzip
import http.client
import io
import socket
import ssl
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from vitals.otlp.target import Target

MAX_ANSWER = 65_536
"""Most bytes of an answer that are read."""
_LEAST_SECONDS = 0.001


class Answer(NamedTuple):
    """What a collector has answered.

    Attributes:
        status: Of HTTP.
        retry_after: Seconds that it asks to wait; None if it does not.
        body: Its first bytes.
    """

    status: int
    retry_after: float | None
    body: bytes


class Connection:
    """Posts messages of protobuf, over a connection that is kept open.

    Args:
        target: Where to.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        url = urlsplit(target.url)
        self._host, self._path = url.netloc, url.path + (f"?{url.query}" if url.query else "")
        self._is_https = url.scheme == "https"
        self._open: http.client.HTTPConnection | None = None
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "vitals",
            **({"content-encoding": "gzip"} if target.gzip else {}),
            **target.headers,
        }

    def post(self, body: bytes) -> Answer:
        """Send a message.

        Raises:
            OSError: It was not sent, or not answered in time.
            http.client.HTTPException: What came is no answer of HTTP.
        """
        body = gzip.compress(body, 1) if self._target.gzip else body
        deadline = time.monotonic() + self._target.timeout
        try:
            if self._open is not None:
                try:
                    return self._post(self._open, body, deadline)
                except ConnectionError:  # the collector has closed it meanwhile
                    self.close()
            return self._post(self._connect(), body, deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next message opens another one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connect(self) -> http.client.HTTPConnection:
        target = self._target
        if self._is_https:
            context = ssl.create_default_context(cafile=target.certificate)
            if target.client_certificate:
                context.load_cert_chain(target.client_certificate, target.client_key)
            self._open = http.client.HTTPSConnection(
                self._host, timeout=target.timeout, context=context
            )
        else:
            self._open = http.client.HTTPConnection(self._host, timeout=target.timeout)
        return self._open

    def _post(self, connection: http.client.HTTPConnection, body: bytes, deadline: float) -> Answer:
        connection.response_class = _response_until(deadline)
        if connection.sock is not None:
            connection.sock.settimeout(max(deadline - time.monotonic(), _LEAST_SECONDS))
        connection.request("POST", self._path, body, self._headers)
        response = connection.getresponse()
        retry_after = _seconds(response.headers.get("retry-after"))
        start = response.read(MAX_ANSWER)
        if not response.isclosed():  # there is more
            response.close()
            self.close()
        return Answer(response.status, retry_after, start)


def _response_until(deadline: float) -> Any:
    """Makes responses that are read until a time; a socket's time-out restarts with each byte."""

    def make(sock: socket.socket, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, **options)
        response.fp = io.BufferedReader(_Reader(response.fp, sock, deadline))
        return response

    return make


class _Reader(io.RawIOBase):
    """Reads the file of a socket until a time."""

    def __init__(self, file: Any, sock: socket.socket, deadline: float) -> None:
        self._file = file
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(left)
        read: int = self._file.raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:  # a date
        return None
