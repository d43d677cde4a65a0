"""Whose a streamed answer is, told to the web server, which has places for only so many."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

_KEY = "flowwatch.stream_owner"


class StreamOwner(NamedTuple):
    """Who takes an answer, and the tenant whose data it is (None: of several)."""

    who: str
    tenant: int | None


def name_owner(environ: MutableMapping[str, Any], who: str, tenant: int | None) -> None:
    """Note in a request's environment (Django: `request.META`) whom its answer counts for."""
    environ[_KEY] = StreamOwner(who, tenant)


def owner_in(environ: MutableMapping[str, Any]) -> StreamOwner | None:
    """Return whom the answer counts for; None when nobody is known to ask."""
    owner: StreamOwner | None = environ.get(_KEY)
    return owner
