"""Limits of request bodies, and the headers that describe a body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.types import Scope

from vitals.asgi.content_type import BodyKind, essence, kind


@dataclass(frozen=True)
class Validation:
    """Limits of request bodies.

    Attributes:
        limit: Most bytes of a body.
        routes: By route template: a limit of its own.
        depth: Most levels of nested arrays and objects in JSON.
        members: Most object members and array elements in JSON, in total.
        string: Most bytes of a string in JSON, as written; None for the limit of the body.
        digits: Most characters of a number in JSON.
        seconds: Most seconds spent waiting for a body, in total.
        bytes_per_second: The minimum rate at which a body must arrive ...
        grace: ... and the seconds before it applies.
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


class BodyHeaders(NamedTuple):
    """The headers of a request that describe its body."""

    lengths: list[bytes]
    chunked: bool
    media: bytes
    encoded: bool

    @classmethod
    def of(cls, scope: Scope) -> "BodyHeaders":
        """Parse the headers of a request."""
        lengths, chunked, media, encoded = [], False, b"", False
        for name, value in scope["headers"]:
            if name == b"content-length":
                lengths.append(value)
            elif name == b"content-type":
                media = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"content-encoding":
                encoded = value.lower() not in {b"", b"identity"}
        return cls(lengths, chunked, media, encoded)


def matches(accepted: str, declared: bytes) -> bool:
    """Whether a body has the type that a route declares; form encodings are interchangeable."""
    declared_kind = kind(declared)
    accepted_kind = kind(accepted.encode())
    if accepted_kind is BodyKind.FORM:
        return declared_kind in {BodyKind.FORM, BodyKind.MULTIPART}
    if accepted_kind in {BodyKind.JSON, BodyKind.MULTIPART}:
        return declared_kind is accepted_kind
    return essence(declared) == accepted
