"""Bodies that set something: one small JSON object of known fields, in camelCase or snake_case."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from django.conf import settings
from django.http import HttpRequest

from monitoring.api.bodies import JSON, demand_content_type, read_body
from tenants import problems

T = TypeVar("T", bound=msgspec.Struct)

PROBLEMS = (400, 408, 413, 415, 422, 503)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# msgspec says where it stopped at the end of its message: `… - at `$.name``.
_PLACE = re.compile(r"^(?P<why>.*?)(?: - at `\$(?P<place>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<number>\d+|\.\.\.)\]")


def read_form(request: HttpRequest, of: type[T]) -> T:
    """The body as `of`, whose fields are snake_case. Raises 400, 413, 415 or 422.

    A field that `of` doesn't know is 422: a misspelt setting must not be lost in silence.
    """
    demand_content_type(request, JSON)
    body = read_body(request, settings.LIMITS.body_bytes)
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise problems.bad_request(f"The body is not JSON: {error}.") from None
    try:
        return msgspec.convert(_in_snake_case(sent), of)
    except msgspec.ValidationError as error:
        raise refusal(*_placed(str(error))) from None


def refusal(loc: list[str | int], why: str) -> problems.Problem:
    """422 for one field."""
    return problems.unprocessable(
        "The body breaks the schema.", errors=[{"loc": ["body", *loc], "msg": why}]
    )


def _in_snake_case(sent: Any) -> Any:
    if isinstance(sent, dict):
        return {_HUMP.sub("_", key).lower(): _in_snake_case(value) for key, value in sent.items()}
    if isinstance(sent, list):
        return [_in_snake_case(value) for value in sent]
    return sent


def _placed(said: str) -> tuple[list[str | int], str]:
    found = _PLACE.match(said)
    assert found is not None
    steps = _STEP.finditer(found["place"] or "")
    return [step["name"] or step["number"] for step in steps], found["why"]
