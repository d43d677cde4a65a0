"""A signed call to an address that the tenant names (Standard Webhooks)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

import msgspec

from alerts.channels.base import Channel, Envelope, Sent, TransportError
from alerts.channels.registry import register
from monitoring import outbound

if TYPE_CHECKING:
    from alerts.models import AlertSettings
    from alerts.policy import Policy

MOST_BYTES: Final = 20_000
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the beginning of every secret, not one
_SECRET_BYTES: Final = 32
_GONE: Final = 410
_EXCERPT: Final = 400


def new_secret() -> str:
    """A secret in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether a text is a secret as `new_secret` makes them."""
    encoded = text.removeprefix(SECRET_PREFIX)
    try:
        known = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    return text.startswith(SECRET_PREFIX) and len(known) == _SECRET_BYTES


def signature(secret: str, key: str, timestamp: int, body: bytes) -> str:
    """The signature (version 1) of one message at one time."""
    digest = hmac.new(
        base64.b64decode(secret.removeprefix(SECRET_PREFIX)),
        f"{key}.{timestamp}.".encode() + body,
        hashlib.sha256,
    ).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@register
class Webhook(Channel):
    """A POST of JSON to your own address, signed as Standard Webhooks describe."""

    slug: ClassVar[str] = "webhook"
    title: ClassVar[str] = "Webhook"
    # 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h
    pauses: ClassVar[tuple[float, ...]] = (
        5.0,
        300.0,
        1_800.0,
        7_200.0,
        18_000.0,
        36_000.0,
        36_000.0,
    )
    patience: ClassVar[float | None] = 5 * 24 * 3_600.0

    def __init__(self, url: str, signing_secrets: list[str]) -> None:
        self.url = url
        self.signing_secrets = signing_secrets

    @classmethod
    def addresses(cls, policy: Policy) -> list[str]:
        """The tenant's address."""
        return [policy.settings.webhook_url] if policy.settings.webhook_url else []

    @classmethod
    def for_address(cls, address: str, settings: AlertSettings, now: dt.datetime) -> Self:
        """Signed with the tenant's secret, and with the one before for a day."""
        return cls(address, settings.signing_secrets(now))

    @classmethod
    def shown(cls, address: str) -> str:
        """Scheme and host: paths of webhooks often are secrets."""
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}/…"

    def send(self, envelope: Envelope) -> Sent:
        """Post the message. 2xx is delivered; 410 ends it; redirects are refusals."""
        body = body_of(envelope)
        seconds = envelope.deadline(outbound.DEADLINE_SECONDS)
        try:
            answer = outbound.call(
                "POST", self.url, body=body, headers=self._headers(envelope, body), seconds=seconds
            )
        except outbound.BadAddressError as error:
            raise TransportError(str(error), permanent=True) from error
        except outbound.CallFailedError as error:
            raise TransportError(str(error), reached=error.reached) from error
        said = answer.body[:_EXCERPT].decode(errors="replace")
        if 200 <= answer.status < 300:
            return Sent(answer.status, said)
        raise TransportError(
            f"The receiver answered {answer.status}. {said}".strip(),
            permanent=answer.status == _GONE,
            status=answer.status,
            reached=True,
            retry_after=_retry_after(answer, envelope.at),
        )

    def _headers(self, envelope: Envelope, body: bytes) -> dict[str, str]:
        key, timestamp = str(envelope.key), int(envelope.at.timestamp())
        signed = [signature(each, key, timestamp, body) for each in self.signing_secrets if each]
        return {
            "Content-Type": "application/json",
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signed),
        }


def _retry_after(answer: outbound.Answer, now: dt.datetime) -> float | None:
    """The pause that an answer asks for, in seconds."""
    named = {name.lower(): value for name, value in answer.headers.items()}
    text = named.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds()) if text else None
    except (ValueError, TypeError, OverflowError):
        return None


# --- the body -------------------------------------------------------------------------------------


def body_of(envelope: Envelope) -> bytes:
    """The message as JSON, below 20 kB: items are left out first, then texts shortened."""
    message = envelope.message
    data: dict[str, Any] = {
        "kind": message.kind,
        "tenant": message.tenant_slug,
        "title": message.title,
        "text": message.text,
        "severity": message.severity,
        "url": message.url,
        "incident": msgspec.to_builtins(message.incident),
        "facts": {each.label: each.value for each in message.facts},
        "items": msgspec.to_builtins(message.items),
        "item_count": message.item_count,
    }
    whole = {"type": f"alert.{message.kind}", "timestamp": message.at.isoformat(), "data": data}
    body = msgspec.json.encode(whole)
    while len(body) >= MOST_BYTES:
        if data["items"]:
            data["items"] = data["items"][: len(data["items"]) // 2]
        else:
            longest = max(("title", "text"), key=lambda name: len(data[name]))
            data[longest] = data[longest][: len(data[longest]) // 2]
        body = msgspec.json.encode(whole)
    return body
