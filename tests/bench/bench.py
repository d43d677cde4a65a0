"""What each part of the bench gets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.site import ROOT, Site

SIZES: Final = (100_000, 10_000_000)


@dataclass(frozen=True)
class Bench:
    """The running product to measure, a token of its tenant `bench`, and how long to measure.

    `sizes`: executions of the histories that pages are measured with, ascending; they are filled once
    and kept. `minutes`: how long the soak lasts. `record`: whether files of docs are renewed.
    """

    site: Site
    token: str
    seconds: float
    repeats: int
    sizes: tuple[int, ...]
    minutes: float
    record: bool

    def history(self, size: int) -> Path:
        """The data folder of a history: root's is where the database's own user can enter it."""
        parent = Path("/var/lib/flowwatch-bench") if os.geteuid() == 0 else ROOT / "build" / "bench"
        return parent / str(size)
