"""Problem details (RFC 9457): error responses."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service import errors
from service.errors import FieldError, ServiceError
from vitals.validation.problems import BodyRefused, ProblemResponse, problem_details

TYPE_PREFIX = "urn:problem-type:service:"
MAX_ERRORS = 20
"""Errors that a response lists; it has the number of further ones."""
MAX_LOCATION_LENGTH = 200
"""Characters of a location in an error: names in a body may be as long as the body."""

BY_STATUS: dict[int, type[ServiceError]] = {
    kind.status: kind
    for kind in (
        errors.BadRequestError,
        errors.UnauthorizedError,
        errors.ForbiddenError,
        errors.NotFoundError,
        errors.MethodNotAllowedError,
        errors.ConflictError,
        errors.TooSlowError,
        errors.PreconditionFailedError,
        errors.TooLargeError,
        errors.UnsupportedMediaTypeError,
        errors.InvalidError,
        errors.PreconditionRequiredError,
        errors.TooManyRequestsError,
        errors.UnavailableError,
    )
}


def to_response(error: ServiceError) -> JSONResponse:
    """Make the response of an error."""
    errors_found = [field_error.as_dict() for field_error in error.field_errors]
    kind = TYPE_PREFIX + error.slug
    content = problem_details(kind, error.title, error.status, error.detail, errors_found)
    return ProblemResponse(content | error.members, error.status, error.headers)


def install(app: FastAPI) -> None:
    """Respond to every error of ``app`` with problem details."""

    async def known(_request: Request, error: Exception) -> JSONResponse:
        return to_response(cast("ServiceError", error))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        return to_response(_from_validation(cast("RequestValidationError", error)))

    async def refused(request: Request, error: Exception) -> JSONResponse:
        response = _from_http(cast("HTTPException", error))
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(_allowed(request))
        return response

    async def invalid_body(_request: Request, error: Exception) -> JSONResponse:
        refusal = cast("BodyRefused", error)
        kind = TYPE_PREFIX + refusal.problem["type"].rpartition(":")[2]
        return ProblemResponse(
            refusal.problem | {"type": kind}, refusal.status_code, refusal.headers
        )

    async def timed_out(_request: Request, _error: Exception) -> JSONResponse:
        return to_response(errors.UnavailableError())

    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        # The server logs the exception; its message may be internal.
        return to_response(ServiceError("Internal error; it has been logged."))

    app.add_exception_handler(ServiceError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(BodyRefused, invalid_body)
    app.add_exception_handler(TimeoutError, timed_out)
    app.add_exception_handler(Exception, unexpected)


def _from_http(error: HTTPException) -> JSONResponse:
    phrase = HTTPStatus(error.status_code).phrase
    # Starlette's default detail repeats the status; ours says what to do.
    detail = "" if error.detail == phrase else str(error.detail)
    kind = BY_STATUS.get(error.status_code)
    if kind is not None:
        problem = kind(detail)
    else:
        problem = ServiceError(detail or phrase)
        problem.status, problem.title = error.status_code, phrase
        problem.slug = phrase.lower().replace(" ", "-")
    problem.headers = {**problem.headers, **(error.headers or {})}
    return to_response(problem)


def _allowed(request: Request) -> list[str]:
    """Return every method of a URL: Starlette names those of one route, but there are several."""

    def matches(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)

    # HEAD is allowed wherever GET is.
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if matches("GET" if method == "HEAD" else method)
    ]


def _from_validation(error: RequestValidationError) -> ServiceError:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        position = found[0]["loc"][-1]
        return errors.BadRequestError(
            "The body is not JSON.",
            FieldError(f"cannot be read from character {position}", pointer=""),
        )
    field_errors = (_field_error(item["loc"], item["msg"]) for item in found[:MAX_ERRORS])
    more = len(found) - MAX_ERRORS
    return errors.InvalidError("", *field_errors, **({"more_errors": more} if more > 0 else {}))


def _field_error(location: Iterable[str | int], message: str) -> FieldError:
    """Name the location; never the value, which may be a password."""
    where, *path = (_printable(str(part)) for part in location)
    detail = _printable(message)
    if where == "body":
        return FieldError(detail, pointer=_pointer(path))
    name = (path[0] if path else where)[:MAX_LOCATION_LENGTH]
    return (
        FieldError(detail, header=name) if where == "header" else FieldError(detail, parameter=name)
    )


def _pointer(path: list[str]) -> str:
    """Return a JSON pointer; if it would be too long, to the nearest ancestor that is not."""
    pointer = ""
    for step in path:
        further = pointer + "/" + step.replace("~", "~0").replace("/", "~1")
        if len(further) > MAX_LOCATION_LENGTH:
            break
        pointer = further
    return pointer


def _printable(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
