"""The kinds of due rows of this app."""

from scheduling import relay, removal, scans, schedules
from scheduling.due import Kind, register_kind
from scheduling.models import Delivery, Removal, Scan, Schedule


def register() -> None:
    """Make them known to the tick."""
    register_kind(Kind("schedule", model=Schedule, work=schedules.start_due_scan, at_once=20))
    register_kind(Kind("delivery", model=Delivery, work=relay.deliver_again, at_once=20))
    register_kind(
        Kind(
            "removal",
            model=Removal,
            work=removal.do_step,
            spreads=False,
            on_quarantine=removal.on_quarantine,
        )
    )
    register_kind(
        Kind(
            "scan",
            model=Scan,
            work=scans.do_step,
            max_attempts=scans.MAX_ATTEMPTS,
            rest=scans.rest,
            on_quarantine=scans.give_up,
            on_revival=scans.reopen,
        )
    )
