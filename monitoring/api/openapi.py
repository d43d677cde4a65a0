"""The OpenAPI 3.1 document, made from the table of operations."""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from django.conf import settings

from monitoring.api.answers import ProblemDocument
from monitoring.api.endpoints import OPERATIONS, Answer, Body, Operation
from monitoring.api.parameters import TENANT, Parameter
from tenants.problems import CONTENT_TYPE as PROBLEM_TYPE

TITLE = "Flowwatch API"
VERSION = "1"
_ABOUT = """\
Send executions in, read what ran, failed and took how long.

**Who.** `Authorization: Bearer <token>` (or `X-API-Key: <token>`), or the session of a signed-in
person (`X-CSRFToken` for unsafe methods). A token belongs to one tenant and has scopes: `ingest`,
`read`, `write`.

**Ids.** `id` of an execution is ours (UUID), `external_id` is what the sender gave; either may
stand in an address. `workflow_id` is the workflow's external id. Ids in addresses are
percent-encoded. An id that several environments know is 409 with `candidates` until
`environment_id` decides.

**Lists.** `limit` 1–500; pass `pagination.nextCursor` as `cursor` until it is null. A page may be
short while `nextCursor` is not null: go on.

**Forms.** Times are ISO 8601, durations integer milliseconds, rates percent (0–100). What is sent
may be camelCase or snake_case.

**Errors** are `application/problem+json` (RFC 9457) with `errors: [{loc, msg}]`. 503 carries
`Retry-After`: repeat the call then.
"""

_SUBJECTS = (
    "Ingest",
    "Executions",
    "Workflows",
    "Workflow executions",
    "Observability",
)
_LAST_SUBJECT = "About"
_PLACE = re.compile(r"\{(\w+)\}")
_PLACES = {
    "workflow_id": "The workflow's external id.",
    "execution_id": "Our id of the execution, or the sender's.",
}
_TITLES = {
    400: "The request could not be read.",
    401: "No token or session, or one that does not count.",
    403: "Scope or role missing, or the tenant is suspended.",
    404: "Unknown, or another tenant's.",
    408: "The body took too long.",
    409: "Several things match; `candidates` lists them.",
    413: "Too many bytes or lines.",
    415: "A content type or encoding that isn't taken here.",
    422: "JSON that breaks the schema, or a key used with another body.",
    429: "Too many calls, or the tenant's quota is used up; repeat after `Retry-After` seconds.",
    503: "The database is away or too much is waiting; repeat after `Retry-After` seconds.",
}


@functools.cache
def encoded_document() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


@functools.cache
def document() -> dict[str, Any]:
    """The document; a test compares it with the addresses that really answer."""
    schemas, components = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for entry in OPERATIONS:
        paths.setdefault(entry.path, {})[entry.method.lower()] = _operation(entry, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": _ABOUT},
        "servers": [{"url": settings.FRONTEND_URL}],
        "tags": [{"name": name} for name in subjects()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _problem(status) for status in _TITLES},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": settings.SESSION_COOKIE_NAME,
                },
            },
        },
    }


def subjects() -> list[str]:
    """The groups of operations: monitoring's in the order in which people need them, the others'."""
    named = {entry.subject for entry in OPERATIONS}
    others = sorted(named.difference(_SUBJECTS, [_LAST_SUBJECT]))
    return [each for each in (*_SUBJECTS, *others, _LAST_SUBJECT) if each in named]


_Schemas = dict[int, dict[str, Any]]


def _schemas() -> tuple[_Schemas, dict[str, Any]]:
    """Schema by identity of its type, and the components that they refer to."""
    types = [ProblemDocument, *_types(OPERATIONS)]
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    return {id(each): schema for each, schema in zip(types, found, strict=True)}, components


def _types(operations: Iterable[Operation]) -> list[Any]:
    types = []
    for entry in operations:
        types += [answer.type for answer in entry.answers]
        types += entry.body.types if entry.body else ()
    return types


def _operation(entry: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": entry.view.__name__ if entry.method != "DELETE" else _delete_id(entry),
        "summary": entry.summary,
        "description": _with_access(entry),
        "tags": [entry.subject],
        "parameters": _parameters(entry),
        "security": _security(entry),
        "responses": {
            **{str(each.status): _answer(each, schemas) for each in entry.answers},
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in _statuses(entry)
            },
        },
    }
    if entry.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                content_type: {
                    "schema": _body_schema(entry.body, schemas),
                    "examples": {
                        name: {"value": value} for name, value in entry.body.examples.items()
                    },
                }
                for content_type in entry.body.content_types
            },
        }
    return described


def _body_schema(body: Body, schemas: _Schemas) -> dict[str, Any]:
    shapes = [schemas[id(each)] for each in body.types]
    message = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    return {"type": "array", "items": message} if body.is_list else message


def _delete_id(entry: Operation) -> str:
    return f"delete_{entry.name.replace('-', '_')}"


def _with_access(entry: Operation) -> str:
    return "\n\n".join(filter(None, [entry.description, access_in_words(entry)]))


def access_in_words(entry: Operation) -> str:
    """Who may call an operation."""
    if entry.access is None:
        return "Open to everybody."
    role = entry.access.needed_role.label.lower()
    if entry.access.scope is None:
        return "Any valid token, or any member."
    return f"Token with scope `{entry.access.scope}`, or a member from {role} on."


def _security(entry: Operation) -> list[dict[str, list[str]]]:
    if entry.access is None:
        return []
    scopes = [entry.access.scope] if entry.access.scope else []
    return [{"bearer": scopes}, {"apiKey": scopes}, {"session": []}]


def _statuses(entry: Operation) -> Sequence[int]:
    if entry.access is None:
        return entry.problems
    return sorted({*entry.problems, 401, 403, 503})


def _parameters(entry: Operation) -> list[dict[str, Any]]:
    places = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PLACES.get(name, "Our id."),
            "schema": {"type": "string", "maxLength": settings.LIMITS.text},
        }
        for name in _PLACE.findall(entry.path)
    ]
    asked = (*entry.query, *entry.headers, *((TENANT,) if entry.access else ()))
    return places + [_parameter(each) for each in asked]


def _parameter(parameter: Parameter[Any]) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    return {
        "description": answer.description,
        "content": {
            answer.content_type: {
                "schema": schemas[id(answer.type)],
                "example": answer.example,
            }
        },
    }


def _problem(status: int) -> dict[str, Any]:
    title = http.HTTPStatus(status).phrase
    return {
        "description": _TITLES[status],
        "content": {
            PROBLEM_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                "example": {
                    "type": f"/problems/{title.lower().replace(' ', '-')}",
                    "title": title,
                    "status": status,
                    "detail": _TITLES[status],
                    "errors": [],
                },
            }
        },
    }
