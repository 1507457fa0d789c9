"""Conditional requests (RFC 9110, section 13): 304 for If-None-Match, 412 for If-Match.

Responses to reads have weak ETags, which identify the content in any encoding: proxies weaken
strong ones when they compress. Responses to writes have strong ones, which identify a row version.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request, Response

from service.errors import (
    FieldError,
    NotFoundError,
    PreconditionFailedError,
    PreconditionRequiredError,
)
from vitals.cache import Peek, Rendered

ANY = "*"
SLOT = "service.resource"
"""Key in the ASGI scope of the list into which ``respond`` puts the cached resource."""
_MEMBER = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)')

IfMatch = Annotated[
    str | None,
    Header(
        max_length=1000,
        description='the `version` that you mean to change, in quotes, such as `"7"`; or `*` for '
        "whichever there is, which may overwrite a change of another client",
        examples=['"7"'],
    ),
]


@dataclass(frozen=True)
class ETag:
    """An entity tag.

    Attributes:
        name: The opaque tag, without the quotes.
        weak: Whether it is a weak validator.
    """

    name: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.name}"'


def parse_etags(header: str) -> Iterator[ETag]:
    """Parse a list of entity tags; a syntax error ends it."""
    header = header.strip(" \t,")
    position = 0
    while position < len(header) and (found := _MEMBER.match(header, position)):
        yield ETag(found[2], weak=found[1] is not None)
        position = found.end()


@dataclass(frozen=True)
class CachedResource:
    """The cache entry behind a URL, for the next conditional request.

    Attributes:
        peek: Reads the entry again without loading.
        cache_control: ``Cache-Control``.
    """

    peek: Peek
    cache_control: str


def respond(
    request: Request, rendered: Rendered | None, cache_control: str, link: str | None = None
) -> Response:
    """Make the response of a value: 200, or 304 if ``If-None-Match`` matches.

    Args:
        request: With ``If-None-Match``.
        rendered: The value.
        cache_control: ``Cache-Control``.
        link: ``Link``, where there is one.

    Raises:
        NotFoundError: There is no value.
    """
    if rendered is None:
        raise NotFoundError
    if rendered.peek is not None and SLOT in request.scope:
        request.scope[SLOT].append(CachedResource(rendered.peek, cache_control))
    if matches(",".join(request.headers.getlist("if-none-match")), rendered.etag):
        return not_modified(rendered, cache_control)
    headers = _headers(rendered, cache_control)
    if link is not None:
        headers["Link"] = link
    return Response(rendered.body, headers=headers, media_type="application/json")


def not_modified(rendered: Rendered, cache_control: str) -> Response:
    """Make a 304 response."""
    return Response(status_code=304, headers=_headers(rendered, cache_control))


def matches(header: str, name: str) -> bool:
    """Return whether ``If-None-Match`` matches a tag, by weak comparison: ``W/"a"`` equals ``"a"``.

    Args:
        header: All its lines, joined by commas; empty where there is none.
        name: The opaque tag, without the quotes.
    """
    if header.strip() == ANY:
        return True
    # A long list of other tags is not parsed.
    return f'"{name}"' in header and any(known.name == name for known in parse_etags(header))


def _headers(rendered: Rendered, cache_control: str) -> dict[str, str]:
    return {"ETag": str(ETag(rendered.etag, weak=True)), "Cache-Control": cache_control}


@dataclass(frozen=True)
class Precondition:
    """The versions that ``If-Match`` allows to change; None for any."""

    versions: frozenset[str] | None

    @classmethod
    def required(cls, if_match: str | None) -> "Precondition":
        """Parse a required header.

        Raises:
            PreconditionRequiredError: It is missing.
        """
        if if_match is None:
            raise PreconditionRequiredError("", FieldError("is missing", header="If-Match"))
        return cls.optional(if_match)

    @classmethod
    def optional(cls, if_match: str | None) -> "Precondition":
        """Parse a header; without one, any version matches."""
        if if_match is None or if_match.strip() == ANY:
            return cls(None)
        # Strong comparison: a weak tag equals nothing.
        return cls(frozenset(tag.name for tag in parse_etags(if_match) if not tag.weak))

    def check(self, version: int) -> None:
        """Check that a version matches.

        Raises:
            PreconditionFailedError: It does not; its header ``ETag`` has the current version.
        """
        if self.versions is None or str(version) in self.versions:
            return
        current = ETag(str(version))
        error = PreconditionFailedError("", FieldError(f"is not {current}", header="If-Match"))
        error.headers = {"ETag": str(current)}
        raise error
