"""How full the disk is that holds the embedded database: before PostgreSQL itself runs out of it.

A full disk ends every write, and where the write-ahead log lies it ends the server. So people are
warned at `DISK_WARN_PERCENT`, and from `DISK_STOP_PERCENT` on what senders push is refused until there is
room again: pages, scans and alerts go on with what is left. A database that somebody else runs
(`DATABASE_URL`) is for its own operators to watch: then nothing is known here.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from tenants import problems

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 10
# Where disks are large a part of them is more than is ever written between two looks.
_ENOUGH_BYTES: Final = 20 * 1024**3


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk, as the database's user sees it: what is kept for root is not free."""

    folder: Path
    size_bytes: int
    free_bytes: int

    @property
    def used_percent(self) -> float:
        """From 0 to 100."""
        return 100.0 * (1 - self.free_bytes / self.size_bytes) if self.size_bytes else 0.0

    @property
    def percent(self) -> int:
        """Whole percent for people, rounded up."""
        return math.ceil(self.used_percent)

    @property
    def is_nearly_full(self) -> bool:
        """Whether people should know."""
        return self._is_above(settings.DISK_WARN_PERCENT)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is taken from senders."""
        return self._is_above(settings.DISK_STOP_PERCENT)

    @property
    def state(self) -> str:
        """In a word: ok, nearly full or full."""
        return "full" if self.is_full else "nearly full" if self.is_nearly_full else "ok"

    def _is_above(self, percent: int) -> bool:
        return self.used_percent >= percent and self.free_bytes < _ENOUGH_BYTES


def database_disk() -> Disk | None:
    """The disk of the embedded database that is worst off, of those that can be looked at.

    None: the database is not ours to watch, or none can be (`Watch` tells the log). Takes microseconds.
    """
    disks = [disk for folder in settings.DATABASE_FOLDERS if (disk := _disk_of(folder))]
    # Of a large disk a high percentage may still be enough, so the state goes first.
    return max(
        disks, key=lambda each: (each.is_full, each.is_nearly_full, each.used_percent), default=None
    )


def demand_room() -> None:
    """Raise 503 when there is no room for what a sender pushes."""
    disk = database_disk()
    if disk is not None and disk.is_full:
        raise problems.unavailable(
            f"The disk of this server's database is {disk.percent} % full. Nothing was stored; repeat "
            "the call when its operators have made room.",
            RETRY_AFTER_SECONDS,
        )


class Watch:
    """Tells the log when the disk fills up, when there is room again, and what can't be looked at."""

    def __init__(self) -> None:
        self._told = "ok"
        self._closed: set[Path] = set()

    def look(self) -> None:
        """Compare with what was told last."""
        self._look_for_closed_folders()
        disk = database_disk()
        if disk is None or disk.state == self._told:
            return
        level = {"ok": logging.INFO, "nearly full": logging.WARNING}.get(disk.state, logging.ERROR)
        self._told = disk.state
        logger.log(
            level,
            f"the database's disk is {disk.state}",
            extra={
                "folder": str(disk.folder),
                "percent": disk.percent,
                "free_bytes": disk.free_bytes,
            },
        )

    def _look_for_closed_folders(self) -> None:
        closed = {folder for folder in settings.DATABASE_FOLDERS if _disk_of(folder) is None}
        for folder in sorted(closed - self._closed):
            logger.error(
                "a folder's disk is not watched: it can't be read", extra={"folder": str(folder)}
            )
        self._closed = closed


def _disk_of(folder: Path) -> Disk | None:
    """What a file system says of itself; None when it can't be asked."""
    try:
        figures = os.statvfs(folder)
    except OSError:
        return None
    used = figures.f_blocks - figures.f_bfree
    size = (used + figures.f_bavail) * figures.f_frsize
    return Disk(folder, size, figures.f_bavail * figures.f_frsize)
