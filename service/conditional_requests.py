"""Conditional requests (RFC 9110, section 13): 304 for who has it, 412 for who saw it older.

What is read has weak tags, which name its content in whatever encoding: proxies weaken strong ones
when they compress. What is written has strong ones, which name a version of the row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request, Response

from service.cache.core.codec import Peek, Rendered
from service.errors import (
    Fault,
    NotFoundError,
    PreconditionFailedError,
    PreconditionRequiredError,
)

ANY = "*"
SLOT = "service.recall"
"""Where, in the ASGI scope, somebody waits to be told what answered."""
_MEMBER = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)')

IfMatch = Annotated[
    str | None,
    Header(
        max_length=1000,
        description='the `version` that you mean to change, in quotes, such as `"7"`; or `*` for '
        "whichever there is, which may undo what somebody else has just done",
        examples=['"7"'],
    ),
]


@dataclass(frozen=True)
class Tag:
    """An entity tag.

    Attributes:
        name: What stands between the quotes.
        weak: Whether it names a content rather than its very bytes.
    """

    name: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.name}"'


def tags(header: str) -> Iterator[Tag]:
    """The tags of a list; what cannot be read ends it."""
    header = header.strip(" \t,")
    place = 0
    while place < len(header) and (found := _MEMBER.match(header, place)):
        yield Tag(found[2], weak=found[1] is not None)
        place = found.end()


@dataclass(frozen=True)
class Recall:
    """What answered a request, to answer the next one sooner.

    Attributes:
        again: Looks at the cached value again; loads nothing.
        caching: ``Cache-Control``.
    """

    again: Peek
    caching: str


def answer(
    request: Request, rendered: Rendered | None, caching: str, link: str | None = None
) -> Response:
    """Send a value, or only 304 if the client has it.

    Args:
        request: Whose ``If-None-Match`` counts.
        rendered: The value.
        caching: ``Cache-Control``.
        link: ``Link``, where there is one.

    Raises:
        NotFoundError: There is no value.
    """
    if rendered is None:
        raise NotFoundError
    if rendered.peek is not None and SLOT in request.scope:
        request.scope[SLOT].append(Recall(rendered.peek, caching))
    if has(",".join(request.headers.getlist("if-none-match")), rendered.etag):
        return unchanged(rendered, caching)
    headers = _headers(rendered, caching)
    if link is not None:
        headers["Link"] = link
    return Response(rendered.body, headers=headers, media_type="application/json")


def unchanged(rendered: Rendered, caching: str) -> Response:
    """The answer to who has a value already."""
    return Response(status_code=304, headers=_headers(rendered, caching))


def has(header: str, name: str) -> bool:
    """Whether ``If-None-Match`` names a tag, compared weakly: ``W/"a"`` and ``"a"`` are the same.

    Args:
        header: All its lines, joined by commas; empty where there is none.
        name: What stands between the quotes.
    """
    if header.strip() == ANY:
        return True
    # A long list of other tags is not read.
    return f'"{name}"' in header and any(known.name == name for known in tags(header))


def _headers(rendered: Rendered, caching: str) -> dict[str, str]:
    return {"ETag": str(Tag(rendered.etag, weak=True)), "Cache-Control": caching}


@dataclass(frozen=True)
class Expected:
    """The versions that a client means to change; None stands for whichever there is."""

    versions: frozenset[str] | None

    @classmethod
    def required(cls, if_match: str | None) -> "Expected":
        """Read a header that must be there.

        Raises:
            PreconditionRequiredError: It is not.
        """
        if if_match is None:
            raise PreconditionRequiredError("", Fault("is missing", header="If-Match"))
        return cls.optional(if_match)

    @classmethod
    def optional(cls, if_match: str | None) -> "Expected":
        """Read a header; without one, any version is meant."""
        if if_match is None or if_match.strip() == ANY:
            return cls(None)
        # Strong comparison: a weak tag equals nothing.
        return cls(frozenset(tag.name for tag in tags(if_match) if not tag.weak))

    def check(self, version: int) -> None:
        """Make sure that a version is meant.

        Raises:
            PreconditionFailedError: It is not; its header ``ETag`` tells the version there is.
        """
        if self.versions is None or str(version) in self.versions:
            return
        current = Tag(str(version))
        error = PreconditionFailedError("", Fault(f"is not {current}", header="If-Match"))
        error.headers = {"ETag": str(current)}
        raise error
