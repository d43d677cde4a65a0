"""A name for each request: in its answer, on pages that say what broke, and in the log."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

HEADER: Final = b"x-request-id"
# As proxies and tracing make them; nothing that could forge a line of the log or of an answer.
_USUAL: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that the request brings (from a proxy, mostly), or a new one of 16 hexadecimal digits."""
    for name, value in headers:
        if name == HEADER and _USUAL.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


def current_request_id() -> str:
    """That of the request which this thread answers; "" where it answers none."""
    return _current.get()


@contextmanager
def answering(request_id: str) -> Iterator[None]:
    """What is logged inside is of this request."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
