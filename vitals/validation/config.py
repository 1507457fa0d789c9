"""What a body must keep to, and what its headers say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.types import Scope

from vitals.asgi.content_type import Kind, essence, kind


@dataclass(frozen=True)
class Guard:
    """What a body must keep to.

    Attributes:
        limit: Bytes of the largest body.
        routes: By route template: a limit of its own.
        depth: Arrays and objects that may stand in one another in JSON.
        members: Members of all objects and elements of all arrays in JSON, together.
        string: Bytes of the longest string in JSON, as it is written; None for those of the body.
        digits: Characters of the longest number in JSON.
        seconds: Time that a client may take for a body, all waits together.
        bytes_per_second: The least rate at which it must arrive ...
        grace: ... and the seconds before that counts.
    """

    limit: int = 1_048_576
    routes: Mapping[str, int] = field(default_factory=dict)
    depth: int = 32
    members: int = 10_000
    string: int | None = None
    digits: int = 1_000
    seconds: float = 60.0
    bytes_per_second: float = 1_000.0
    grace: float = 10.0

    def __post_init__(self) -> None:
        sizes = (self.depth, self.members, self.limit if self.string is None else self.string)
        if min(self.limit, self.digits, *sizes, *self.routes.values()) < 1:
            raise ValueError("a limit of 0 would refuse every body: limits and sizes start at 1")
        if min(self.seconds, self.bytes_per_second, self.grace) <= 0:
            raise ValueError("seconds, bytes_per_second and grace must be more than 0")


class Head(NamedTuple):
    """What a request's headers say of its body."""

    lengths: list[bytes]
    chunked: bool
    media: bytes
    coded: bool

    @classmethod
    def of(cls, scope: Scope) -> "Head":
        """Read the headers of a request."""
        lengths, chunked, media, coded = [], False, b"", False
        for name, value in scope["headers"]:
            if name == b"content-length":
                lengths.append(value)
            elif name == b"content-type":
                media = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"content-encoding":
                coded = value.lower() not in {b"", b"identity"}
        return cls(lengths, chunked, media, coded)


def matches(accepted: str, declared: bytes) -> bool:
    """Whether a body is of the type a route declares; forms of both encodings are forms."""
    given = kind(declared)
    wanted = kind(accepted.encode())
    if wanted is Kind.FORM:
        return given in {Kind.FORM, Kind.MULTIPART}
    if wanted in {Kind.JSON, Kind.MULTIPART}:
        return given is wanted
    return essence(declared) == accepted
