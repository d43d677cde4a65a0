"""What a channel is: it brings one message to one address, or says why not."""

from __future__ import annotations

import datetime as dt
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings

from alerts.message import Message

if TYPE_CHECKING:
    from alerts.models import AlertSettings
    from alerts.policy import Policy


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way: `key` is the same on every try, `at` the time of this one.

    `seconds` is the time there is for this try, where that is less than the channel's own deadline.
    """

    key: uuid.UUID
    message: Message
    at: dt.datetime
    seconds: float | None = None

    def deadline(self, longest: float) -> float:
        """Seconds that the try may take in a channel that takes at most `longest`."""
        own = settings.PACE.seconds(longest)
        return own if self.seconds is None else min(own, self.seconds)


@dataclass(frozen=True, slots=True)
class Sent:
    """What the receiver answered; `status` is its code, None where there are none."""

    status: int | None = None
    said: str = ""


class TransportError(Exception):
    """The message did not arrive, as far as is known.

    `permanent`: trying again would be in vain. `reached`: the receiver may have got it, so it counts
    as a message to it. `retry_after` is the pause in seconds that the receiver asks for.
    """

    def __init__(
        self,
        said: str,
        *,
        permanent: bool = False,
        status: int | None = None,
        reached: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(said)
        self.said = said
        self.permanent = permanent
        self.status = status
        self.reached = reached
        self.retry_after = retry_after


class Channel(ABC):
    """One way to tell people something. Its docstring is what they read about it.

    An instance belongs to one address. `pauses` are the seconds of rest after the first failed try,
    the second, …; after the last one the message is given up. `jitter` is the part by which a pause
    varies. `patience` are the seconds of nothing but failures after which an address is switched off
    (None: never).
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    pauses: ClassVar[tuple[float, ...]]
    jitter: ClassVar[float] = 0.2
    patience: ClassVar[float | None] = None

    @classmethod
    @abstractmethod
    def addresses(cls, policy: Policy) -> list[str]:
        """Whom a policy names; empty when the channel can't be used."""

    @classmethod
    @abstractmethod
    def for_address(cls, address: str, settings: AlertSettings, now: dt.datetime) -> Self:
        """The channel to one address, with what the tenant's settings say about it."""

    @abstractmethod
    def send(self, envelope: Envelope) -> Sent:
        """Bring the message to the receiver within a minute. Raises TransportError."""

    @classmethod
    def shown(cls, address: str) -> str:
        """The address as pages show it, without what only the receiver should know."""
        return address


AnyChannel = type[Channel] | Any
