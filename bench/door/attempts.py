"""Sends a trick to the door, and judges the answer."""

import base64
import re
from dataclasses import dataclass

from bench.door.tricks import Trick
from bench.door.watched_door import PASSWORD, SECRET, USER, WatchedDoor

_STATUS = re.compile(rb"(?:^|\r\n\r\n|[^\r\n])HTTP/1\.[01] (\d{3})")
REFUSED = frozenset({"400", "401", "405", "408", "413", "414", "417", "421", "431", "501", "505"})
"""Statuses that tell nothing about what is behind; 100 asks for the body of what is refused."""
_CLOSED, _HTTP2 = "closed", b"\x00\x00"


@dataclass(frozen=True)
class Outcome:
    """What the door answered.

    Attributes:
        answer: Its bytes.
        status: The statuses, or that the connection was closed.
        refused: Whether all of it says no.
    """

    answer: bytes
    status: str
    refused: bool


def outcome(door: WatchedDoor, trick: Trick, *, seconds: float = 10.0) -> Outcome:
    """Send a trick; each of its answers must be a refusal without content.

    Args:
        door: The door.
        trick: The trick.
        seconds: How long an answer may take.
    """
    try:
        answer = door.send(trick.request, name=trick.name, seconds=seconds)
    except OSError:  # the handshake
        return Outcome(b"", "no handshake", refused=True)
    statuses = [found.decode() for found in _STATUS.findall(answer)]
    if not statuses:
        is_nothing = not answer or answer.startswith(_HTTP2)
        return Outcome(answer, _CLOSED if not answer else "HTTP/2 frames", refused=is_nothing)
    refused = {*statuses} <= REFUSED | {"100"} and SECRET not in answer
    return Outcome(answer, " ".join(dict.fromkeys(statuses)), refused)


def with_login(
    door: WatchedDoor, method: str, target: str, *headers: str, body: bytes = b""
) -> bytes:
    """Send a request with the login; returns the answer."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {door.authority}",
        f"Authorization: Basic {login}",
        "Connection: close",
        *headers,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return door.send("\r\n".join(lines).encode() + body)


def witness_works(door: WatchedDoor) -> bool:
    """Whether a request with the login reaches the witness: otherwise it would prove nothing."""
    return SECRET in with_login(door, "GET", "/api/v1/query?query=up")
