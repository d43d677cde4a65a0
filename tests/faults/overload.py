"""More than there is room for: on the disk (research: row 8)."""

from __future__ import annotations

from tests.faults import disk
from tests.faults.trials import Trial, mutant

TRIALS = (
    Trial(
        "row 8: the disk filled under load to 95 % and to the last byte, and emptied",
        "warned at 85 %, 503 with Retry-After at 95 % while reads go on, the supervisor lives on, "
        "stored again within 30 s, 0 lost",
        disk.fill_the_disk,
        times=3, at_once=1, quick=1, what="fillings",
    ),
    mutant("nobody watches the disk", lambda: disk.fill_the_disk(mutant="watch-no-disk")),
)  # fmt: skip
