"""Reads the fields of one JSON object of a message and collects what is wrong with them.

Fields come in camelCase or snake_case. Texts and payloads come out scrubbed; what is too large is
cut with a visible mark or refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings

from monitoring.counting.histogram import LONGEST_MS
from monitoring.recording.decoding import FieldError, InvalidMessage, too_deep
from monitoring.recording.scrub import Suspicion, TooDeep, scrubber
from monitoring.words import Status, status_from_word
from tenants.times import read_time

EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
LARGEST_INTEGER = 2**31 - 1
"""What a column of type integer holds."""
_AHEAD = dt.timedelta(days=1)
_MAX_ERRORS = 20
_MAX_ENTRIES = 50

_encode = msgspec.json.Encoder().encode

Spellings = Mapping[str, str]
"""Each spelling of a field's name → the name."""


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def spellings(*names: str) -> Spellings:
    """Both spellings of each name."""
    return {spelling: name for name in names for spelling in (name, camel(name))}


class Fields:
    """The fields of one JSON object; `errors` is shared by all objects of a message."""

    __slots__ = (
        "errors",
        "latest",
        "limits",
        "loc",
        "suspicion",
        "truncated",
        "unknown",
        "values",
    )

    def __init__(
        self,
        message: Mapping[str, Any],
        spellings: Spellings,
        errors: list[FieldError],
        latest: dt.datetime,
        suspicion: Suspicion,
        loc: str = "",
    ) -> None:
        # A plain loop: this is where most of the time of reading a message goes.
        values: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        for key, value in message.items():
            name = spellings.get(key)
            if name is None:
                unknown[key] = value
            elif value is not None:
                values[name] = value
        self.values = values
        self.unknown = unknown
        self.limits = settings.LIMITS
        self.errors = errors
        self.latest = latest
        self.suspicion = suspicion
        self.loc = loc
        self.truncated: set[str] = set()

    @classmethod
    def of_message(
        cls, message: Any, body: bytes, spellings: Spellings, received_at: dt.datetime
    ) -> Fields:
        """The fields of a whole message; `body` is its text. Raises InvalidMessage."""
        if type(message) is not dict:
            raise InvalidMessage([FieldError("", f"must be an object, not {type_name(message)}")])
        return cls(
            message,
            spellings,
            [],
            received_at + _AHEAD,
            scrubber().suspect(body, depth=settings.LIMITS.depth),
        )

    def within(self, value: Mapping[str, Any], spellings: Spellings, place: str) -> Fields:
        """The fields of an object inside this one; `place` is where errors in it are said to be."""
        return Fields(
            value,
            spellings,
            self.errors,
            self.latest,
            self.suspicion,
            f"{self.loc}{place}.",
        )

    def inner(self, name: str, spellings: Spellings) -> Fields:
        """The fields of the object that is the value of one; absent counts as empty."""
        return self.within(self._object(name), spellings, camel(name))

    def fail(self, name: str, msg: str) -> None:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(FieldError(f"{self.loc}{camel(name)}", msg))

    def text(self, name: str) -> str | None:
        """A name of at most `limits.text` characters, scrubbed (a mark may be longer than its secret)."""
        text = self._short_text(name)
        if text is None or not self.suspicion.values:
            return text
        return scrubber().scrub_text(text)[: self.limits.text]

    def identity(self, name: str, *, required: bool = False) -> str | None:
        """An id: text or whole number, exactly as sent.

        Never scrubbed: marks are not unique, so two things would become one, and neither could be
        found by its id again.
        """
        return self._short_text(name, required=required, number_allowed=True)

    def _short_text(
        self, name: str, *, required: bool = False, number_allowed: bool = False
    ) -> str | None:
        value = self.values.get(name)
        if type(value) is str and 0 < len(value) <= self.limits.text:
            return str(value)
        if type(value) is int and number_allowed:
            value = str(value)
        if value is None or value == "":
            if required:
                self.fail(name, "is required")
            return None
        if type(value) is not str:
            self.fail(name, f"must be text, not {type_name(value)}")
            return None
        if len(value) > self.limits.text:
            self.fail(
                name,
                f"has {len(value)} characters, at most {self.limits.text} are allowed",
            )
            return None
        return str(value)

    def status(self, allowed: frozenset[Status] | None = None) -> Status:
        """The canonical status; SKIPPED stands in after an error, which refuses the message anyway."""
        value = self.values.get("status")
        if value is None:
            self.fail("status", "is required")
            return Status.SKIPPED
        status = status_from_word(value) if type(value) is str else None
        if status is None or (allowed is not None and status not in allowed):
            words = ", ".join(s.slug for s in sorted(allowed or Status))
            self.fail("status", f"must be one of {words} (or a provider's word for it)")
            return Status.SKIPPED
        return status

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            self.fail(name, f"must be a whole number, not {type_name(value)}")
            return None
        if not low <= value <= high:
            self.fail(name, f"must be between {low} and {high}")
            return None
        return value

    def duration(self, name: str) -> int | None:
        """Milliseconds, rounded to whole ones."""
        value = self.values.get(name)
        if type(value) is float:
            self.values[name] = round(value)
        return self.integer(name, 0, LONGEST_MS)

    def time(self, name: str) -> dt.datetime | None:
        """ISO 8601; without an offset it is UTC."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not str:
            self.fail(name, f"must be a time as text (ISO 8601), not {type_name(value)}")
            return None
        try:
            moment = read_time(value)
        except ValueError as error:
            self.fail(name, str(error))
            return None
        if not EARLIEST <= moment <= self.latest:
            self.fail(name, "must lie between 2000-01-01 and one day ahead of now")
            return None
        return moment

    def long_text(self, name: str, value: Any, limit: int) -> str | None:
        """An error's text: scrubbed, cut to `limit` bytes with a visible mark."""
        if value is None:
            return None
        value = self._scrubbed(name, value)
        text = value if isinstance(value, str) else _encode(value).decode()
        encoded = text.encode()
        if len(encoded) <= limit:
            return text
        self.truncated.add(name)
        return (
            f"{encoded[:limit].decode(errors='ignore')}… [cut: {len(encoded) - limit:,} more bytes]"
        )

    def payload(self, name: str, value: Any) -> bytes | None:
        """JSON text of any value: scrubbed, replaced by a mark with its beginning when too big."""
        if value is None:
            return None
        text = _encode(self._scrubbed(name, value))
        limit = self.limits.node_data_bytes
        if len(text) <= limit:
            return text
        self.truncated.add(name)
        kept = text[:limit].decode(errors="ignore")
        return msgspec.json.encode(
            {
                "__truncated__": {
                    "bytes": len(text),
                    "kept": len(kept.encode()),
                    "text": kept,
                }
            }
        )

    def _scrubbed(self, name: str, value: Any) -> Any:
        """The value without secrets; None after an error, which refuses the message anyway."""
        if not self.suspicion.anything:
            return value
        try:
            return scrubber().scrub(
                value, depth=self.limits.depth, look_at_values=self.suspicion.values
            )
        except TooDeep:
            self.errors.append(too_deep(f"{self.loc}{camel(name)}"))
            return None

    def tags(self, name: str) -> list[str] | None:
        """A list of short texts."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not list or not self._are_few_short_texts(value, _MAX_ENTRIES):
            self.fail(name, f"must be a list of {self._few_short_texts}")
            return None
        return [scrubber().scrub_text(tag) for tag in value]

    def keys(self, name: str) -> dict[str, str] | None:
        """An object of short texts."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not dict or not self._are_few_short_texts(
            [*value, *value.values()], 2 * _MAX_ENTRIES
        ):
            self.fail(name, f"must be an object of {self._few_short_texts}")
            return None
        return dict(scrubber().scrub(value, depth=1))

    @property
    def _few_short_texts(self) -> str:
        return f"at most {_MAX_ENTRIES} texts of at most {self.limits.text} characters"

    def _are_few_short_texts(self, texts: list[Any], most: int) -> bool:
        return len(texts) <= most and all(
            type(text) is str and len(text) <= self.limits.text for text in texts
        )

    def _object(self, name: str) -> dict[str, Any]:
        value = self.values.get(name)
        if value is None:
            return {}
        if type(value) is not dict:
            self.fail(name, f"must be an object, not {type_name(value)}")
            return {}
        return value

    def bitmap(self, fields: tuple[str, ...]) -> int:
        bits = 0
        for name in self.truncated:
            bits |= 1 << fields.index(name)
        return bits


def type_name(value: Any) -> str:
    """What a JSON value is, in words for senders."""
    return {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }.get(type(value), "null")
