"""Classifies bodies by their ``Content-Type`` and ``Content-Encoding``."""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

Headers = Iterable[tuple[bytes, bytes]]
"""ASGI headers."""


class BodyKind(StrEnum):
    """Kinds of bodies that are handled differently."""

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
def kind(content_type: bytes) -> BodyKind:
    """The kind of a ``Content-Type`` header; ``OTHER`` without one."""
    media = essence(content_type)
    if media == "application/json" or (
        media.startswith("application/") and media.endswith("+json")
    ):
        return BodyKind.JSON
    if media == "application/x-www-form-urlencoded":
        return BodyKind.FORM
    if media == "text/event-stream":
        return BodyKind.EVENTS
    if media.startswith("multipart/"):
        return BodyKind.MULTIPART
    return BodyKind.TEXT if media.startswith("text/") else BodyKind.OTHER


class BodyMedia(NamedTuple):
    """What the headers of a message declare about its body.

    Attributes:
        kind: Its kind.
        compressed: Whether it has a content coding.
        readable: Whether it is uncompressed text of a known kind.
    """

    kind: BodyKind
    compressed: bool
    readable: bool

    @classmethod
    def from_headers(cls, headers: Headers) -> "BodyMedia":
        """Parse ASGI headers, whose names are in lower case."""
        content_type = coding = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"content-encoding":
                coding = value
        return _body_media(content_type, coding)


_READABLE = frozenset((BodyKind.JSON, BodyKind.FORM, BodyKind.TEXT))


@lru_cache(256)
def _body_media(content_type: bytes, coding: bytes) -> BodyMedia:
    media, compressed = kind(content_type), coding.lower() not in {b"", b"identity"}
    return BodyMedia(media, compressed, not compressed and media in _READABLE)
