"""The `error` of an execution or of a node, which may be an object or just text."""

from __future__ import annotations

from typing import NamedTuple

from django.conf import settings

from monitoring.recording.fields import Fields, spellings

_FIELDS = spellings("message", "stack", "node_id")


class Failure(NamedTuple):
    """What an error says; `details` are its other fields as JSON text."""

    message: str | None = None
    stack: str | None = None
    node_id: str | None = None
    details: bytes | None = None


_NONE = Failure()


def failure_of(fields: Fields) -> Failure:
    """What the field `error` says; its texts scrubbed and cut."""
    if "error" not in fields.values:
        return _NONE
    if isinstance(fields.values["error"], str):
        fields.values["error"] = {"message": fields.values["error"]}
    error = fields.inner("error", _FIELDS)
    limits = settings.LIMITS
    return Failure(
        fields.long_text("error_message", error.values.get("message"), limits.error_message_bytes),
        fields.long_text("error_stack", error.values.get("stack"), limits.stack_bytes),
        error.identity("node_id"),
        fields.payload("error_details", error.unknown or None),
    )
