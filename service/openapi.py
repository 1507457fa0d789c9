"""The OpenAPI document: metadata of the API, operation ids, and the errors of all operations."""

import json
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.problems import BY_STATUS, TYPE_PREFIX
from vitals.validation.problems import MEDIA_TYPE

DESCRIPTION = """\
Prices are whole cents, times are UTC.

**Access.** `register_user`, then `log_in`, and send the `access_token` as
`Authorization: Bearer <access_token>`. Reading products needs none.

**Errors** are problem details (RFC 9457): `type` is for programs, `detail` for people.

**Lists** come in pages: pass `next` as `cursor` to get the following one, until it is null.

**Caching.** Send the `ETag` of what you have as `If-None-Match`, and get 304 while it is current.
Send the `ETag` of a product as `If-Match` to change it only if it is unchanged since.
"""
METADATA: dict[str, Any] = {
    "title": "Shop API",
    "summary": "Users, products and orders: an API that measures itself with Vitals.",
    "description": DESCRIPTION,
    "version": "1.0.0",  # of the contract, not of the software: raise it when the contract changes
    "contact": {"name": "The Vitals authors"},
    "license_info": {"name": "MIT License", "identifier": "MIT"},
    "servers": [{"url": "/", "description": "The host that serves this document"}],
    "openapi_tags": [
        {"name": "health", "description": "Probes for load balancers and orchestrators."},
        {"name": "orders", "description": "Users place, see and cancel their own."},
        {"name": "products", "description": "The catalogue: everybody reads, admins write."},
        {"name": "users", "description": "Accounts and logins; admins manage them."},
    ],
}
"""Arguments of FastAPI that describe the API; none depends on settings or releases."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong, as problem details (RFC 9457)",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "description": "what kind of problem",
            "examples": ["urn:problem-type:service:invalid"],
        },
        "title": {
            "type": "string",
            "description": "the same for every problem of this type",
            "examples": ["Invalid values"],
        },
        "status": {
            "type": "integer",
            "description": "the status of the response",
            "examples": [422],
        },
        "detail": {
            "type": "string",
            "description": "what to do about this one",
            "examples": ["Some values are not acceptable: see `errors`."],
        },
        "errors": {
            "type": "array",
            "description": "what is wrong with which values",
            "examples": [[{"detail": "is taken", "pointer": "/email"}]],
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {
                        "type": "string",
                        "description": "what is wrong here",
                        "examples": ["is taken"],
                    },
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body",
                        "examples": ["/email"],
                    },
                    "parameter": {
                        "type": "string",
                        "description": "of the path or the query",
                        "examples": ["limit"],
                    },
                    "header": {
                        "type": "string",
                        "description": "of the request",
                        "examples": ["If-Match"],
                    },
                },
            },
        },
        "more_errors": {
            "type": "integer",
            "description": "how many more errors there are",
            "examples": [3],
        },
    },
}

_GENERIC = re.compile(r'"(#/components/schemas/)?Page[_\[](\w+?)(?:Out)?[_\]]"')
"""FastAPI's name of a page's schema, its references and title; replaced by `OrderPage`."""


def operation_id(route: APIRoute) -> str:
    """The name of an operation in generated clients: that of its endpoint."""
    return route.name


def install(app: FastAPI) -> None:
    """Complete the OpenAPI document of ``app``: errors are problem details, defined once."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:  # it is generated once and kept
            text = _GENERIC.sub(r'"\1\2Page"', json.dumps(generate()))
            app.openapi_schema = _complete(json.loads(text))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def render(app: FastAPI) -> str:
    """The document of ``app`` as text, as `docs/openapi.json` holds it."""
    return json.dumps(app.openapi(), ensure_ascii=False, indent=2) + "\n"


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form
        schemas.pop(name, None)
    schemas["Problem"] = SCHEMA
    statuses: set[int] = set()
    for path in document["paths"].values():
        for operation in path.values():
            statuses |= _complete_operation(operation)
    components["responses"] = {
        _name(status): documented(status)[status] for status in sorted(statuses)
    }
    return document


def _complete_operation(operation: dict[str, Any]) -> set[int]:
    """Document the errors that any endpoint of this form has; returns the statuses of all."""
    operation.setdefault("security", [])  # says that no token is needed
    responses: dict[str, Any] = operation["responses"]
    statuses = {400, 503}  # a wrong `Host`, or a query of too many parameters
    if "parameters" in operation:
        statuses.add(422)
    if "requestBody" in operation:
        statuses |= {408, 413, 415, 422}
    statuses |= {int(status) for status in responses} & set(BY_STATUS)
    for status in statuses:
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    for code, response in responses.items():
        if response.get("description") == "Successful Response":  # FastAPI's words
            response["description"] = HTTPStatus(int(code)).phrase
    operation["responses"] = dict(sorted(responses.items()))
    return statuses


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


def _name(status: int) -> str:
    return BY_STATUS[status].__name__.removesuffix("Error")


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
