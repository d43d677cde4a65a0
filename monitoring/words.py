"""The words of the domain as closed sets: status, error class, severity, provider, level of a bucket.

Numbers are what the database holds; `slug` is the canonical word that the API and pages show.
"""

from __future__ import annotations

import enum
from typing import Final

LOST: Final = "lost"
"""What a running execution shows as that promised heartbeats and fell silent; no status of its own."""


class Status(enum.IntEnum):
    """Status of an execution or of a node execution."""

    PENDING = 0
    RUNNING = 1
    WAITING = 2
    SUCCESS = 3
    FAILED = 4
    PARTIAL = 5
    CANCELED = 6
    SKIPPED = 7

    # Plain attributes: pages ask them thousands of times.
    slug: str
    is_problem: bool
    """Whether an error belongs to this status."""

    def __init__(self, number: int) -> None:
        self.slug = self.name.lower()
        self.is_problem = self.name in ("FAILED", "PARTIAL")

    @property
    def is_finished(self) -> bool:
        return self in FINISHED


FINISHED = frozenset({Status.SUCCESS, Status.FAILED, Status.PARTIAL, Status.CANCELED})
PROBLEMS = frozenset(status for status in Status if status.is_problem)
RATED = frozenset({Status.SUCCESS, Status.FAILED, Status.PARTIAL})
"""Statuses that count in a failure rate: failed / (success + failed + partial)."""

# Between two messages that are equally finished and equally late, the worse news wins.
STATUS_RANK: dict[Status, int] = {
    Status.PENDING: 0,
    Status.RUNNING: 1,
    Status.WAITING: 2,
    Status.SKIPPED: 3,
    Status.CANCELED: 4,
    Status.SUCCESS: 5,
    Status.PARTIAL: 6,
    Status.FAILED: 7,
}

# Every provider's word for a status, in one place; lower case, "-" and " " folded to "_".
STATUS_WORDS: dict[str, Status] = {
    **{status.slug: status for status in Status},
    "new": Status.PENDING,
    "queued": Status.PENDING,
    "scheduled": Status.PENDING,
    "started": Status.RUNNING,
    "in_progress": Status.RUNNING,
    "retrying": Status.FAILED,
    "completed": Status.SUCCESS,
    "succeeded": Status.SUCCESS,
    "ok": Status.SUCCESS,
    "error": Status.FAILED,
    "errored": Status.FAILED,
    "failure": Status.FAILED,
    "crashed": Status.FAILED,
    "timed_out": Status.FAILED,
    "cancelled": Status.CANCELED,
    "aborted": Status.CANCELED,
    "stopped": Status.CANCELED,
}


def status_from_word(word: str) -> Status | None:
    """The status that a sender's word means, or None when the word is unknown."""
    status = STATUS_WORDS.get(word)
    if status is None:
        status = STATUS_WORDS.get(word.strip().lower().replace("-", "_").replace(" ", "_"))
    return status


class ErrorClass(enum.IntEnum):
    """What kind of error a failure is; decided by `recording.classify`."""

    UNKNOWN = 0
    AUTH = 1
    RATE_LIMIT = 2
    TIMEOUT = 3
    CONNECTION = 4
    VALIDATION = 5
    NOT_FOUND = 6
    PAYMENT = 7
    CODE = 8
    RESOURCE = 9

    @property
    def slug(self) -> str:
        return self.name.lower()

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").lower()


class Severity(enum.IntEnum):
    """How bad a failure is, from its error class (requirement 000, section 3)."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def slug(self) -> str:
        return self.name.lower()


SEVERITY_OF_CLASS: dict[ErrorClass, Severity] = {
    ErrorClass.PAYMENT: Severity.CRITICAL,
    ErrorClass.AUTH: Severity.CRITICAL,
    ErrorClass.TIMEOUT: Severity.INFO,
}


def severity_of(error_class: ErrorClass) -> Severity:
    """Payment and auth are critical, time-outs info, all others warning."""
    return SEVERITY_OF_CLASS.get(error_class, Severity.WARNING)
