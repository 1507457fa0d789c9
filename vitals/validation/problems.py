"""Refusals: what is wrong, under which status, and how the client is told (RFC 9457)."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:vitals:"

REASONS: dict[str, tuple[int, str, str]] = {
    # reason: status, type, title
    "length": (400, "bad-length", "Bad body length"),
    "encoding": (400, "not-json", "Not JSON"),
    "syntax": (400, "not-json", "Not JSON"),
    "number": (400, "not-json", "Not JSON"),
    "duplicate_key": (400, "not-json", "Not JSON"),
    "too_slow": (408, "too-slow", "Body too slow"),
    "too_large": (413, "too-large", "Body too large"),
    "media_type": (415, "unsupported-media-type", "Wrong content type"),
    "depth": (422, "too-deep", "Body too deep"),
    "members": (422, "too-many-members", "Too many members"),
    "string": (422, "too-long", "String too long"),
    "digits": (422, "too-long", "Number too long"),
}
"""What is not I-JSON, or not what its headers say, is malformed: 400. What is JSON but more than
is accepted is 413 by its size, 422 by its depth, its members, strings and numbers."""


class Refused(HTTPException):
    """A body was refused; raised into whoever was reading it.

    Attributes:
        reason: One of ``REASONS``.
        problem: The problem details, as a client gets them.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        pointer: str | None = None,
        header: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        status, kind, title = REASONS[reason]
        super().__init__(status, detail, headers)
        self.reason = reason
        self.problem: dict[str, Any] = {
            "type": TYPE_PREFIX + kind,
            "title": title,
            "status": status,
            "detail": detail,
        }
        place = {"pointer": pointer, "header": header}
        error = {name: where for name, where in place.items() if where is not None}
        if error:
            self.problem["errors"] = [{"detail": detail, **error}]


async def answer(_request: Request, refused: Exception) -> JSONResponse:
    """The answer to a refused request (an exception handler of Starlette's)."""
    if not isinstance(refused, Refused):
        raise TypeError(f"{refused!r} is no refusal")
    headers = {"x-content-type-options": "nosniff", **(refused.headers or {})}
    return JSONResponse(
        refused.problem, refused.status_code, headers=headers, media_type=MEDIA_TYPE
    )
