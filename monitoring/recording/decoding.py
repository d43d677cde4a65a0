"""From the bytes of a body to JSON values, and how to say what is wrong with a message."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec
from django.conf import settings


@dataclasses.dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a message: where (`nodeExecutions.3.status`) and what."""

    loc: str
    msg: str


class InvalidMessage(ValueError):
    """A message that is JSON but breaks the schema (422)."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.loc}: {error.msg}" for error in errors))
        self.errors = errors


class NotJson(ValueError):
    """A body that is not JSON in UTF-8 (400)."""


# Every escape is matched, so that the second backslash of "\\u0000" begins none.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u0000|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
_UNSTORABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})")
_REPLACEMENT = rb"\ufffd"


def decode(body: bytes) -> Any:
    """The JSON value of a body; NUL and lone surrogates become U+FFFD.

    Raises NotJson; InvalidMessage when it is nested too deep or holds a number out of range.
    """
    if _UNSTORABLE_ESCAPE.search(body):
        body = _ESCAPE.sub(_repair_escape, body)
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise InvalidMessage([too_deep("")]) from None
    except msgspec.ValidationError as error:
        raise InvalidMessage([FieldError("", str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"The body is not JSON in UTF-8: {error}") from None


def _repair_escape(match: re.Match[bytes]) -> bytes:
    """Pairs of surrogates and harmless escapes stay as they are."""
    escape = match.group()
    return _REPLACEMENT if _UNSTORABLE_ESCAPE.fullmatch(escape) else escape


def too_deep(loc: str) -> FieldError:
    return FieldError(loc, f"nested deeper than {settings.LIMITS.depth} levels")
