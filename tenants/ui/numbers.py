"""Numbers, sizes and durations as people say them."""

from __future__ import annotations

import math
from typing import Final

from django.utils.safestring import SafeString

NOTHING: Final = "–"
"""What stands where a value is unknown; never a zero."""

THIN_SPACE: Final = "\u202f"
MINUS: Final = "\u2212"

_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000


def _known(value: float | str | None) -> float | None:
    """Return a finite number, or None; a template gives "" for a variable that it lacks."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def duration(milliseconds: float | str | None) -> str:
    """Say milliseconds as people do: "840 ms", "12.4 s", "3 min 07 s", "2 h 05 min", "3 d 04 h"."""
    exactly = _known(milliseconds)
    if exactly is None:
        return NOTHING
    if exactly < 0:
        return MINUS + duration(-exactly)
    whole = round(exactly)
    if whole < _SECOND:
        return f"{whole} ms"
    tenths = round(exactly / 100)
    if tenths < 600:
        return f"{tenths / 10:.1f} s"
    seconds = round(exactly / _SECOND)
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    minutes = round(exactly / _MINUTE)
    if minutes < 1_440:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(exactly / _HOUR)
    return f"{hours // 24} d {hours % 24:02} h"


def thousands(number: float | str | None, digits: int = 0) -> str:
    """Group digits by thin spaces: 12431 is "12 431"; `digits` after the point."""
    exactly = _known(number)
    if exactly is None:
        return NOTHING
    text = f"{abs(exactly):,.{digits}f}".replace(",", THIN_SPACE)
    negative = exactly < 0 and text.strip("0.") != ""
    return MINUS + text if negative else text


def percent(value: float | str | None, digits: int = 1) -> str:
    """Say a rate that is already in percent (0–100): 1.34 is "1.3 %"; None is "–"."""
    said = thousands(value, digits)
    return said if said == NOTHING else f"{said} %"


def filesize(count: float | str | None) -> str:
    """Say bytes: "820 B", "12.4 KB", "1.2 MB" (steps of 1,024)."""
    size = _known(count)
    if size is None:
        return NOTHING
    for unit in ("B", "KB", "MB"):
        if size < 1_024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_024
    return f"{size:.1f} GB"


def took(milliseconds: float | str | None) -> SafeString:
    """Mark up a duration: as people say it, the exact milliseconds on hover."""
    if _known(milliseconds) is None:
        return SafeString(f'<span class="nums">{NOTHING}</span>')
    # Only words of our own, in every row of every list: nothing to escape.
    exactly, said = thousands(milliseconds), duration(milliseconds)
    return SafeString(f'<span class="nums" title="{exactly} ms">{said}</span>')
