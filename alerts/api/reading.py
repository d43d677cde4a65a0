"""Bodies of calls as typed values: camelCase or snake_case, every error at its place."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
from django.conf import settings

from monitoring.api.bodies import JSON, demand_content_type, read_body
from monitoring.recording.decoding import InvalidMessage, NotJson, decode
from tenants import problems
from tenants.api_access import ApiRequest
from tenants.problems import Problem

MOST_BYTES: Final = 1024 * 1024
_T = TypeVar("_T")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_PLACE: Final = re.compile(r" - at `\$([^`]*)`$")


def body_of(request: ApiRequest, expected: type[_T]) -> _T:
    """The body of a call. Raises 400, 413, 415 or 422."""
    demand_content_type(request, JSON)
    body = read_body(request, min(MOST_BYTES, settings.LIMITS.body_bytes))
    try:
        value = decode(body)
    except NotJson as error:
        raise problems.bad_request(str(error)) from None
    except InvalidMessage as error:
        raise problems.unprocessable(str(error)) from None
    try:
        return msgspec.convert(_snake(value), expected)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def wrong(loc: list[str | int], msg: str) -> Problem:
    """422 for one field."""
    where = ".".join(str(part) for part in loc)
    return problems.unprocessable(f"{where}: {msg}.", [{"loc": ["body", *loc], "msg": msg}])


def _snake(value: Any, depth: int = 0) -> Any:
    """The same with keys in snake_case, as deep as bodies here go."""
    if depth > 3:
        return value
    if isinstance(value, dict):
        return {
            _HUMP.sub(r"_\1", key).lower(): _snake(item, depth + 1) for key, item in value.items()
        }
    return [_snake(item, depth + 1) for item in value] if isinstance(value, list) else value


def _refusal(said: str) -> Problem:
    found = _PLACE.search(said)
    words = _PLACE.sub("", said)
    place = found[1].replace("[", ".").replace("]", "") if found else ""
    parts = [part for part in place.split(".") if part]
    return wrong([int(part) if part.isdigit() else part for part in parts], words)
