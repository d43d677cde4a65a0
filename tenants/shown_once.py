"""A secret for the page that a form leads to: shown once, and loading that page anew makes no other.

The session keeps it masked by a pad that only the browser holds, until it is shown: nothing that
the database holds can be used.
"""

from __future__ import annotations

import secrets
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

_KEY: Final = "shown_once"
_COOKIE: Final = "flowwatch-shown-once"
_SECONDS: Final = 120


def lead_to_secret(request: HttpRequest, address: str, name: str, secret: str) -> HttpResponse:
    """Redirect to the page at `address`, whose view gets the secret and its name by `take_secret`."""
    pad = secrets.token_bytes(len(secret.encode()))
    request.session[_KEY] = {
        "address": address,
        "name": name,
        "masked": _xor(secret.encode(), pad).hex(),
    }
    answer = redirect(address)
    answer.set_cookie(
        _COOKIE,
        pad.hex(),
        max_age=_SECONDS,
        path=address,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )
    return answer


def take_secret(request: HttpRequest) -> tuple[str, str] | None:
    """(name, secret) for this page, which nobody gets a second time; None: there is none."""
    kept = request.session.get(_KEY)
    if request.method != "GET" or kept is None or kept["address"] != request.path:
        return None
    del request.session[_KEY]
    masked = bytes.fromhex(kept["masked"])
    try:
        pad = bytes.fromhex(request.COOKIES.get(_COOKIE, ""))
    except ValueError:
        return None
    if len(pad) != len(masked):
        return None
    # A pad that somebody made up gives bytes that are no text.
    return kept["name"], _xor(masked, pad).decode(errors="replace")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
