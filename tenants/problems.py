"""Errors of the API as RFC 9457 problems: raise one, the endpoint answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from django.http import HttpResponse, JsonResponse

CONTENT_TYPE = "application/problem+json"


class FieldError(TypedDict):
    """Where in the request something is wrong, and what."""

    loc: list[str | int]
    msg: str


class Problem(Exception):
    """An answer of 4xx or 5xx with words for people and a type for programs.

    `kind` becomes the `type` URI (`/problems/<kind>`); `extra` adds members of its own.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        return {
            **self.extra,
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "errors": self.errors,
        }


def problem_response(problem: Problem) -> HttpResponse:
    """Return the answer for `problem`, never cached."""
    response = JsonResponse(problem.body(), status=problem.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response[name] = value
    return response


def bad_request(detail: str, *, kind: str = "bad-request") -> Problem:
    """400: not JSON, wrong encoding, broken cursor."""
    return Problem(400, kind, "The request could not be read", detail)


def unauthorized(detail: str, *, invalid_token: bool = False) -> Problem:
    """401: no token or session, or one that does not count."""
    challenge = 'Bearer realm="Flowwatch"'
    if invalid_token:
        challenge += ', error="invalid_token"'
    return Problem(
        401,
        "unauthorized",
        "Sign-in or token needed",
        detail,
        headers={"WWW-Authenticate": challenge},
    )


def forbidden(
    detail: str, *, kind: str = "forbidden", headers: Mapping[str, str] | None = None
) -> Problem:
    """403: scope or role missing, tenant suspended."""
    return Problem(403, kind, "Not allowed", detail, headers=headers)


def not_found() -> Problem:
    """404: unknown, or another tenant's; the answer never tells which."""
    return Problem(404, "not-found", "Not found", "There is nothing at this address for you.")


def method_not_allowed(allowed: Sequence[str]) -> Problem:
    """405 with the methods that the address knows."""
    listed = ", ".join(allowed)
    return Problem(
        405,
        "method-not-allowed",
        "Method not allowed",
        f"This address answers {listed}.",
        headers={"Allow": listed},
    )


def conflict(
    detail: str,
    *,
    candidates: Sequence[Mapping[str, Any]] | None = None,
    kind: str = "conflict",
) -> Problem:
    """409: the state forbids it, or several things match (`candidates` lists them)."""
    extra = {} if candidates is None else {"candidates": list(candidates)}
    return Problem(409, kind, "Conflict", detail, extra=extra)


def too_large(detail: str) -> Problem:
    """413: too many bytes or lines."""
    return Problem(413, "too-large", "Too large", detail)


def unsupported_media_type(detail: str) -> Problem:
    """415: a content type or encoding that this address does not take."""
    return Problem(415, "unsupported-media-type", "Content type not supported", detail)


def unprocessable(
    detail: str, errors: Sequence[FieldError] = (), *, kind: str = "unprocessable"
) -> Problem:
    """422: JSON that breaks the schema."""
    return Problem(422, kind, "The content is not valid", detail, errors=errors)


def too_many(detail: str, retry_after: int) -> Problem:
    """429: more than the tenant may; nothing was stored, repeat after `retry_after` seconds."""
    return Problem(
        429, "too-many", "Too many calls", detail, headers={"Retry-After": str(retry_after)}
    )


def unavailable(detail: str, retry_after: int) -> Problem:
    """503: repeat after `retry_after` seconds; nothing was stored."""
    return Problem(
        503,
        "unavailable",
        "Not available now",
        detail,
        headers={"Retry-After": str(retry_after)},
    )


def database_away() -> Problem:
    """503: what any address answers while the database can't be reached."""
    return unavailable("The database can't be reached now; repeat the call.", 2)


def internal_error() -> Problem:
    """500: a fault of ours; it is in the server's log."""
    return Problem(
        500, "internal-error", "Internal error", "Something broke on our side and was logged."
    )
