"""Addresses that messages lead to, with the origin that people open."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.core import signing
from django.urls import reverse

_SALT: Final = "alerts.acknowledge"
HOLDS_SECONDS: Final = 7 * 24 * 3600


def _absolute(path: str) -> str:
    return f"{settings.FRONTEND_URL}{path}"


def incident_url(slug: str, incident_id: int) -> str:
    """The page of an incident."""
    return _absolute(reverse("alerts:incident", args=[slug, incident_id]))


def inbox_url(slug: str, summary_id: int | None = None) -> str:
    """The list of incidents; of those that a summary counts."""
    query = f"?summary={summary_id}" if summary_id is not None else ""
    return _absolute(reverse("alerts:inbox", args=[slug])) + query


def settings_url(slug: str) -> str:
    """Where a tenant says what it wants to be told."""
    return _absolute(reverse("alerts:settings", args=[slug]))


def scan_url(slug: str, scan_id: int) -> str:
    """The page of a scan."""
    return _absolute(reverse("scheduling:scan", args=[slug, scan_id]))


def acknowledge_url(incident_id: int, address: str) -> str:
    """A link for one reader that acknowledges an incident (by a button on its page)."""
    return _absolute(reverse("alerts:acknowledge-link", args=[token(incident_id, address)]))


def token(incident_id: int, address: str) -> str:
    """What says in a link which incident it is about, and who reads it."""
    return signing.dumps([incident_id, address], salt=_SALT)


def read_token(said: str) -> tuple[int, str] | None:
    """Incident and reader of a link; None when it is no link of ours or too old."""
    try:
        incident_id, address = signing.loads(said, salt=_SALT, max_age=HOLDS_SECONDS)
    except (signing.BadSignature, ValueError):
        return None
    return incident_id, address
