"""Problem details (RFC 9457): the response with them, and those of refused bodies."""

from collections.abc import Iterable, Mapping
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
"""400: not I-JSON, or not what the headers declare. 413: too large. 422: valid JSON that exceeds
the limits of depth, members, strings or numbers."""


class ProblemResponse(JSONResponse):
    """A response with problem details."""

    media_type = MEDIA_TYPE


def problem_details(
    kind: str, title: str, status: int, detail: str, errors: Iterable[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """The members of problem details.

    Args:
        kind: The URI of the problem's type.
        title: Names the type.
        status: Of the response.
        detail: What happened, and what to do.
        errors: What is wrong where, if there is more than the detail.
    """
    problem: dict[str, Any] = {"type": kind, "title": title, "status": status, "detail": detail}
    found = list(errors)
    return problem | {"errors": found} if found else problem


class BodyRefused(HTTPException):
    """A body was refused; raised into the code that reads it.

    Attributes:
        reason: One of ``REASONS``.
        problem: The problem details for the client.
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
        location = {"pointer": pointer, "header": header}
        error = {name: where for name, where in location.items() if where is not None}
        found = [{"detail": detail, **error}] if error else []
        self.problem = problem_details(TYPE_PREFIX + kind, title, status, detail, found)


async def handle_refused(_request: Request, refusal: Exception) -> JSONResponse:
    """Respond to a refused request (a Starlette exception handler)."""
    if not isinstance(refusal, BodyRefused):
        raise TypeError(f"{refusal!r} is not a refused body")
    headers = {"x-content-type-options": "nosniff", **(refusal.headers or {})}
    return ProblemResponse(refusal.problem, refusal.status_code, headers)
