"""Symbols of the sprite; the shape and the word of every state."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

STATUS_LABELS: Final = {
    "success": "Success",
    "failed": "Failed",
    "partial": "Partial",
    "pending": "Pending",
    "running": "Running",
    "waiting": "Waiting",
    "canceled": "Canceled",
    "skipped": "Skipped",
    "retrying": "Retrying",
    "lost": "Lost contact",
    "critical": "Critical",
    "warning": "Warning",
    "info": "Info",
}


@lru_cache(maxsize=1_024)  # a page draws hundreds, of few kinds
def icon(name: str, classes: str = "", label: str = "") -> SafeString:
    """Draw a symbol of the sprite; without `label` it is decoration that screen readers skip."""
    said = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else mark_safe('aria-hidden="true"')
    )
    return format_html(
        '<svg class="icon {}" {}><use href="{}#{}"/></svg>',
        classes,
        said,
        static("icons/sprite.svg"),
        name,
    )


def status_word(status: str) -> str:
    """Return the word that people read for a canonical status or severity."""
    return STATUS_LABELS.get(status, str(status))


def status_icon(status: str, label: bool = True) -> SafeString:
    """Draw the shape of a status or severity; `label=False` when the word stands beside it."""
    known = status if status in STATUS_LABELS else "unknown"
    return icon(known, f"is-{known}", status_word(status) if label else "")
