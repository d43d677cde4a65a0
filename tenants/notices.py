"""What stands above every page because the person should know it: each app registers its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Notice", "notices", "register_notice"]


@dataclass(frozen=True, slots=True)
class Notice:
    """`text` stands before the time since when it is so, `more` after it."""

    text: str
    since: dt.datetime
    more: str


_asks: list[Callable[[], Notice | None]] = []


def register_notice(ask: Callable[[], Notice | None]) -> None:
    """Add a question that each page asks; it has to be cheap. Call it in `AppConfig.ready`."""
    _asks.append(ask)


def notices() -> list[Notice]:
    """What is to be said now, to everybody."""
    return [notice for ask in _asks if (notice := ask()) is not None]
