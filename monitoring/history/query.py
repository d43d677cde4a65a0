"""What is asked for, and positions in its answer."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import uuid
from dataclasses import dataclass, replace

from monitoring.words import Status


class BrokenCursor(ValueError):
    """A cursor that this program never gave out."""


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Which executions are asked for; everything that is set must hold.

    `start` and `end` are [start, end) on the time of the id. `error_text` is searched whatever the
    case. `trigger`, `version` and `tag` are compared whole. Durations are milliseconds, both
    included. `lost` lets executions that lost contact match beside `statuses`.
    """

    workflow_ids: tuple[int, ...] = ()
    environment_id: int | None = None
    statuses: frozenset[Status] = frozenset()
    lost: bool = False
    trigger: str = ""
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    error_text: str = ""
    fingerprint: bytes | None = None
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None
    version: str = ""
    tag: str = ""
    ids: tuple[uuid.UUID, ...] | None = None

    @property
    def is_answered_by_rollups(self) -> bool:
        """Whether counts by workflow, environment, status and time say how many match."""
        return replace(self, start=None, end=None) == ExecutionQuery(
            workflow_ids=self.workflow_ids,
            environment_id=self.environment_id,
            statuses=self.statuses,
        )


def cursor_of(execution_id: uuid.UUID) -> str:
    """The position of an execution in every list, as text for an address."""
    return base64.urlsafe_b64encode(execution_id.bytes).decode().rstrip("=")


def position_in(cursor: str | None) -> uuid.UUID | None:
    """The position that a cursor stands for. Raises BrokenCursor."""
    if cursor is None:
        return None
    try:
        return uuid.UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BrokenCursor("This cursor was not made here; begin without one.") from error
