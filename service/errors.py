"""Exceptions of the service, with their HTTP status and problem details.

Slices raise these; ``service.problems`` turns them into RFC 9457 problem details. The first line
of a class's docstring is the default ``detail``.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FieldError:
    """An invalid part of a request.

    Attributes:
        detail: What is wrong, for a person.
        pointer: JSON pointer into the body, such as ``/items/0/quantity``.
        parameter: Name of the path or query parameter.
        header: Name of the header.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return the JSON members that are set."""
        return {name: text for name, text in asdict(self).items() if text is not None}


class ServiceError(Exception):
    """Something went wrong."""

    status = 500
    slug = "internal-error"
    title = "Internal error"
    headers: dict[str, str] = {}  # noqa: RUF012 - read only, overridden by subclasses

    def __init__(self, detail: str = "", *field_errors: FieldError, **members: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").partition("\n")[0]
        self.field_errors = field_errors
        self.members = members
        super().__init__(self.detail)


class BadRequestError(ServiceError):
    """The request cannot be parsed."""

    status, slug, title = 400, "bad-request", "Bad request"


class BadCursorError(BadRequestError):
    """The cursor does not belong to this list: take it from `next` and keep sort and filters."""

    slug, title = "bad-cursor", "Bad cursor"

    def __init__(self) -> None:
        super().__init__("", FieldError("unknown, changed, or of another list", parameter="cursor"))


class UnauthorizedError(ServiceError):
    """Log in first: POST /api/users/login, then send the token as `Authorization: Bearer`."""

    status, slug, title = 401, "unauthorized", "Not logged in"
    headers = {"WWW-Authenticate": "Bearer"}  # noqa: RUF012 - read only


class ForbiddenError(ServiceError):
    """This needs the role `admin`."""

    status, slug, title = 403, "forbidden", "Not allowed"


class NotFoundError(ServiceError):
    """There is no such resource."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowedError(ServiceError):
    """This URL does not support the method: see the header `Allow`."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class ConflictError(ServiceError):
    """The request conflicts with the stored data."""

    status, slug, title = 409, "conflict", "Conflict"


class TooSlowError(ServiceError):
    """The body came too slowly: send it again over a better connection."""

    status, slug, title = 408, "too-slow", "Body too slow"


class PreconditionFailedError(ServiceError):
    """The resource was changed since you read it: read it again, then decide."""

    status, slug, title = 412, "precondition-failed", "Changed meanwhile"


class TooLargeError(ServiceError):
    """The body is larger than this service accepts."""

    status, slug, title = 413, "too-large", "Body too large"
    # The rest of the body is not read, so the connection cannot be reused.
    headers = {"Connection": "close"}  # noqa: RUF012 - read only


class UnsupportedMediaTypeError(ServiceError):
    """Send the body as `Content-Type: application/json`."""

    status, slug, title = 415, "unsupported-media-type", "Wrong content type"


class InvalidError(ServiceError):
    """Some values are invalid: see `errors`."""

    status, slug, title = 422, "invalid", "Invalid values"


class PreconditionRequiredError(ServiceError):
    """Send the version that you mean to change in `If-Match`, or `*` for any version."""

    status, slug, title = 428, "precondition-required", "Precondition required"


class TooManyRequestsError(ServiceError):
    """Too many attempts: wait as long as `Retry-After` says."""

    status, slug, title = 429, "too-many-requests", "Too many requests"


class UnavailableError(ServiceError):
    """A dependency of this request is unavailable: try again shortly."""

    status, slug, title = 503, "unavailable", "Temporarily unavailable"
    headers = {"Retry-After": "1"}  # noqa: RUF012 - read only
