"""What a content type means to those who look into bodies."""

from enum import StrEnum
from functools import lru_cache

from starlette.types import Scope


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


def header(message: Scope, name: bytes) -> bytes:
    """The first header of this name in an ASGI scope or response start; empty without one."""
    for held, value in message.get("headers", ()):
        if held.lower() == name:
            return bytes(value)
    return b""
