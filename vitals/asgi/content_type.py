"""What a content type means to those who look into bodies."""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them."""


class Kind(StrEnum):
    """Kinds of bodies that are treated differently."""

    JSON = "json"
    FORM = "form"
    TEXT = "text"
    MULTIPART = "multipart"
    EVENTS = "event stream"
    OTHER = "other"


def essence(content_type: bytes) -> str:
    """The media type without its parameters, in lower case."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


@lru_cache(256)
def kind(content_type: bytes) -> Kind:
    """The kind of a ``Content-Type`` header; what is not declared is ``OTHER``."""
    media = essence(content_type)
    if media == "application/json" or (
        media.startswith("application/") and media.endswith("+json")
    ):
        return Kind.JSON
    if media == "application/x-www-form-urlencoded":
        return Kind.FORM
    if media == "text/event-stream":
        return Kind.EVENTS
    if media.startswith("multipart/"):
        return Kind.MULTIPART
    return Kind.TEXT if media.startswith("text/") else Kind.OTHER


class Announced(NamedTuple):
    """What the headers of a message say of its body.

    Attributes:
        kind: Its kind.
        compressed: Whether it is coded.
        readable: Whether its bytes are text, of a kind that is understood.
    """

    kind: Kind
    compressed: bool
    readable: bool

    @classmethod
    def by(cls, headers: Headers) -> "Announced":
        """Read ASGI headers, whose names are in lower case."""
        media = coding = b""
        for name, value in headers:
            if name == b"content-type":
                media = value
            elif name == b"content-encoding":
                coding = value
        return _announced(media, coding)


_READABLE = frozenset((Kind.JSON, Kind.FORM, Kind.TEXT))


@lru_cache(256)
def _announced(media: bytes, coding: bytes) -> Announced:
    what, compressed = kind(media), coding.lower() not in {b"", b"identity"}
    return Announced(what, compressed, not compressed and what in _READABLE)
