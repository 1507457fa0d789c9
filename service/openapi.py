"""How OpenAPI describes the errors: every one is a problem."""

from typing import Any

from fastapi import FastAPI

from service.problems import BY_STATUS, MEDIA_TYPE, TYPE_PREFIX

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "what kind of problem"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what to do about this one"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON pointer into the body"},
                    "parameter": {"type": "string", "description": "of the path or the query"},
                    "header": {"type": "string"},
                },
            },
        },
        "more_errors": {"type": "integer", "description": "how many more errors there are"},
    },
}


def describe_problems(app: FastAPI) -> None:
    """Say in the OpenAPI of ``app`` that its errors are problem details."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:  # the document is generated once and kept
            schemas["Problem"] = SCHEMA
            for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form
                schemas.pop(name, None)
            for path in document["paths"].values():
                for operation in path.values():
                    _complete(operation)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any]) -> None:
    """Document what any endpoint of this form may answer, so that slices need not."""
    statuses = [503]
    if "parameters" in operation:
        statuses.append(422)
    if "requestBody" in operation:
        statuses += [400, 408, 413, 415, 422]
    for status, description in documented(*statuses).items():
        operation["responses"][str(status)] = description


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint for OpenAPI: its errors, as problem details."""
    return {
        status: {
            "description": BY_STATUS[status].title,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _example(status),
                }
            },
        }
        for status in statuses
    }


def cacheable(*statuses: int) -> dict[str, Any]:
    """The arguments of a route that answers conditional requests, with its errors.

    The header is read by :func:`service.conditional_requests.respond`: as a parameter, it would be
    validated although any value is fine.
    """
    known = {
        "in": "header",
        "name": "If-None-Match",
        "required": False,
        "schema": {"type": "string", "examples": ['W/"Zm9vYmFyYmF6cXV4"']},
        "description": "`ETag` of what you have, several, or `*`: 304 if it is still current",
    }
    headers = _headers("ETag", "weak: names the content") | _headers(
        "Cache-Control", "for how long"
    )
    same = {"description": "You have it: nothing has changed", "headers": headers}
    return {
        "responses": {200: {"headers": headers}, 304: same} | documented(*statuses),
        "openapi_extra": {"parameters": [known]},
    }


def tagged(status: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint that names the version it has written."""
    return {status: {"headers": _headers("ETag", "strong: send it as `If-Match`")}}


def _headers(name: str, description: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}}}


def _example(status: int) -> dict[str, Any]:
    kind = BY_STATUS[status]
    return {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": status,
        "detail": (kind.__doc__ or "").partition("\n")[0],
    }
