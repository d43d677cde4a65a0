"""All channels by slug. A channel's module registers it; it is named in `_MODULES` once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, TypeVar

from alerts.channels.base import Channel

_MODULES: Final = ("email", "webhook")
_channels: dict[str, type[Channel]] = {}
_Channel = TypeVar("_Channel", bound=type[Channel])


def register(channel: _Channel) -> _Channel:
    """Class decorator: make a channel known. Raises ValueError for a slug that is taken."""
    if channel.slug in _channels:
        raise ValueError(f"There is a channel {channel.slug!r} already.")
    _channels[channel.slug] = channel
    return channel


def channels() -> Mapping[str, type[Channel]]:
    """Slug → channel, in the order in which pages show them."""
    for module in _MODULES:
        import_module(f"alerts.channels.{module}.channel")
    return _channels


def kind_of_channel(slug: str) -> str:
    """The name of the kind of due rows that delivers to a channel's targets."""
    return f"alerts to {slug}"
