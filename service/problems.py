"""Errors on the wire: RFC 9457 problem details."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service import errors
from service.errors import Fault, ServiceError
from vitals.validation.problems import BodyRefused

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:service:"
MOST_FAULTS = 20
"""Errors that an answer lists; of further ones it tells the number."""
LONGEST_PLACE = 200
"""Characters of a place that are told: names in a body may be as long as the body."""

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


def answer(error: ServiceError) -> JSONResponse:
    """Write an error as problem details."""
    content: dict[str, Any] = {
        "type": TYPE_PREFIX + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.faults:
        content["errors"] = [fault.as_dict() for fault in error.faults]
    return JSONResponse(
        content | error.members, error.status, headers=error.headers, media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with problem details."""

    async def known(_request: Request, error: Exception) -> JSONResponse:
        return answer(cast("ServiceError", error))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        return answer(_from_validation(cast("RequestValidationError", error)))

    async def refused(request: Request, error: Exception) -> JSONResponse:
        response = _from_http(cast("HTTPException", error))
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = ", ".join(_allowed(request))
        return response

    async def guarded(_request: Request, error: Exception) -> JSONResponse:
        refusal = cast("BodyRefused", error)
        kind = TYPE_PREFIX + refusal.problem["type"].rpartition(":")[2]
        return JSONResponse(
            refusal.problem | {"type": kind},
            refusal.status_code,
            headers=refusal.headers,
            media_type=MEDIA_TYPE,
        )

    async def late(_request: Request, _error: Exception) -> JSONResponse:
        return answer(errors.UnavailableError())

    async def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        # The server logs the exception; what it says may be internal.
        return answer(ServiceError("Something went wrong here; it has been logged."))

    app.add_exception_handler(ServiceError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(BodyRefused, guarded)
    app.add_exception_handler(TimeoutError, late)
    app.add_exception_handler(Exception, unforeseen)


def _from_http(error: HTTPException) -> JSONResponse:
    phrase = HTTPStatus(error.status_code).phrase
    # Starlette's own words repeat the status; ours say what to do.
    detail = "" if error.detail == phrase else str(error.detail)
    kind = BY_STATUS.get(error.status_code)
    if kind is not None:
        problem = kind(detail)
    else:
        problem = ServiceError(detail or phrase)
        problem.status, problem.title = error.status_code, phrase
        problem.slug = phrase.lower().replace(" ", "-")
    problem.headers = {**problem.headers, **(error.headers or {})}
    return answer(problem)


def _allowed(request: Request) -> list[str]:
    """Every method of an address: Starlette names those of one route, but ours are several."""

    def matches(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)

    # What can be got can be asked for its headers too.
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
            "The body is not JSON.", Fault(f"cannot be read from character {position}", pointer="")
        )
    faults = (_fault(item["loc"], item["msg"]) for item in found[:MOST_FAULTS])
    more = len(found) - MOST_FAULTS
    return errors.InvalidError("", *faults, **({"more_errors": more} if more > 0 else {}))


def _fault(location: Iterable[str | int], message: str) -> Fault:
    """Name the place; never the value, which may be a password."""
    where, *path = (_printable(str(part)) for part in location)
    detail = _printable(message)
    if where == "body":
        return Fault(detail, pointer=_pointer(path))
    name = (path[0] if path else where)[:LONGEST_PLACE]
    return Fault(detail, header=name) if where == "header" else Fault(detail, parameter=name)


def _pointer(path: list[str]) -> str:
    """A JSON pointer; where it would be long, to the last place on the way that is not."""
    pointer = ""
    for step in path:
        further = pointer + "/" + step.replace("~", "~0").replace("/", "~1")
        if len(further) > LONGEST_PLACE:
            break
        pointer = further
    return pointer


def _printable(text: str) -> str:
    """Replace half characters (lone surrogates), which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
