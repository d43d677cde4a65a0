"""The kinds of due rows of this app."""

from scheduling import schedules
from scheduling.due import Kind, register_kind
from scheduling.models import Schedule


def register() -> None:
    """Make them known to the tick."""
    register_kind(Kind("schedule", model=Schedule, work=schedules.start_due_scan, at_once=20))
