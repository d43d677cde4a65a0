"""What a message says, the same for every channel; stored with the notification."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import msgspec

FACT_LENGTH: Final = 500
MOST_ITEMS: Final = 20


class Fact(msgspec.Struct, frozen=True):
    """A line of a message."""

    label: str
    value: str


class Item(msgspec.Struct, frozen=True):
    """One of several things that a message is about."""

    title: str
    severity: str
    url: str
    text: str = ""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The incident that a message is about, as it was then."""

    id: int
    rule: str
    status: str
    count: int
    opened_at: dt.datetime
    last_at: dt.datetime
    first_at: dt.datetime | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    environment: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`title` is a sentence; `items` are the first `MOST_ITEMS` of `item_count`; `url` leads to all.

    `severity` and `kind` are words (Severity, Notification.Kind).
    """

    kind: str
    tenant: str
    tenant_slug: str
    title: str
    severity: str
    url: str
    at: dt.datetime
    text: str = ""
    facts: list[Fact] = []
    items: list[Item] = []
    item_count: int = 0
    incident: About | None = None

    def stored(self) -> dict[str, Any]:
        """The message as JSON keeps it."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored


def read(content: dict[str, Any]) -> Message:
    """The message of a notification's `content`."""
    return msgspec.convert(content, Message)


def fact(label: str, value: str) -> Fact:
    """A fact of bounded length."""
    return Fact(label, _cut(value))


def item(title: str, severity: str, url: str, text: str = "") -> Item:
    """An item whose text is of bounded length."""
    return Item(title, severity, url, _cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= FACT_LENGTH else text[: FACT_LENGTH - 1] + "…"
