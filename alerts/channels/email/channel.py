"""Mail through the operator's server (SMTP_HOST and the other SMTP_ variables)."""

from __future__ import annotations

import datetime as dt
import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import urlsplit

import msgspec
from django.conf import settings as django_settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string

from alerts import links
from alerts.channels.base import Channel, Envelope, Sent, TransportError
from alerts.channels.registry import register
from alerts.message import Fact, Message
from tenants.audit import printable

if TYPE_CHECKING:
    from alerts.models import AlertSettings
    from alerts.policy import Policy

DEADLINE_SECONDS: Final = 50.0
SUBJECT_LENGTH: Final = 200
_DAY_OF_PAUSES: Final = 360


@register
class Email(Channel):
    """A mail to each address, sent by this installation's mail server."""

    slug: ClassVar[str] = "email"
    title: ClassVar[str] = "Mail"
    # Mail servers come back: every four minutes for a day.
    pauses: ClassVar[tuple[float, ...]] = (5.0, 30.0, 60.0, 120.0, *[240.0] * _DAY_OF_PAUSES)

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def addresses(cls, policy: Policy) -> list[str]:
        """The policy's mail addresses; none while no mail server is set."""
        return list(policy.emails) if django_settings.MAIL_CONFIGURED else []

    @classmethod
    def for_address(cls, address: str, settings: AlertSettings, now: dt.datetime) -> Self:
        """Mail needs nothing but the address."""
        return cls(address)

    def send(self, envelope: Envelope) -> Sent:
        """Hand the mail to the server. 5xx is permanent; everything else is tried again."""
        mail = compose(envelope, self.address)
        seconds = envelope.deadline(DEADLINE_SECONDS)
        # Nothing can be cut before there is a connection.
        connection: Any = get_connection(timeout=min(seconds, django_settings.EMAIL_TIMEOUT))
        try:
            with _deadline(connection, seconds):
                connection.send_messages([mail])
        except (smtplib.SMTPException, OSError) as error:
            raise _as_transport_error(error) from error
        return Sent(250, "Taken by the mail server.")


@contextmanager
def _deadline(connection: Any, seconds: float) -> Iterator[None]:
    """Cut a mail server off that answers too slowly (`config.mail.SmtpBackend.cut`)."""
    # What only collects mails, as in tests, is never slow.
    timer = threading.Timer(seconds, getattr(connection, "cut", lambda: None))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _as_transport_error(error: Exception) -> TransportError:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return _answer(code, said)
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        # Perhaps after it had taken the mail.
        return TransportError(f"The mail server ended the connection: {error}", reached=True)
    return TransportError(f"The mail server can't be reached: {error}")


def _answer(code: int, said: bytes | str) -> TransportError:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return TransportError(f"{code} {text}", permanent=code >= 500, status=code)


# --- the mail -------------------------------------------------------------------------------------


def compose(envelope: Envelope, address: str) -> EmailMultiAlternatives:
    """The mail of a message; the same key gives the same Message-ID on every try."""
    message = _on_lines(envelope.message)
    host = urlsplit(django_settings.FRONTEND_URL).hostname or "localhost"
    is_over = message.kind == "resolved"
    context = {
        "message": message,
        "quoted": [f"> {line}".rstrip() for line in message.text.splitlines()],
        "tone": "over" if is_over else message.severity,
        "mark": "Resolved" if is_over else message.severity.capitalize(),
        "look": _LOOKS.get(message.kind, "Show the incident"),
        "more": max(0, message.item_count - len(message.items)),
        "acknowledge_url": _acknowledge_url(message, address),
        "settings_url": links.settings_url(message.tenant_slug),
    }
    mail = EmailMultiAlternatives(
        subject=_subject(message),
        body=render_to_string("alerts/mail/message.txt", context),
        to=[address],
        headers={
            "Message-ID": f"<{envelope.key}@{host}>",
            "Date": formatdate(message.at.timestamp()),
            "Auto-Submitted": "auto-generated",
            **_thread(message, host),
        },
    )
    mail.attach_alternative(render_to_string("alerts/mail/message.html", context), "text/html")
    return mail


def _on_lines(message: Message) -> Message:
    """The message so that no name or error in it can look like a line of ours.

    Senders choose those: each stands on one line, without marks that turn the direction of writing.
    """
    return msgspec.structs.replace(
        message,
        title=_line(message.title),
        tenant=_line(message.tenant),
        text="\n".join(_line(line) for line in message.text.splitlines()),
        facts=[Fact(_line(each.label), _line(each.value)) for each in message.facts],
        items=[
            msgspec.structs.replace(each, title=_line(each.title), text=_line(each.text))
            for each in message.items
        ],
    )


def _line(text: str) -> str:
    return printable(text, len(text))


_LOOKS: Final = {
    "summary": "Show all of them",
    "scan": "Show the scan",
    "test": "Alert settings",
    "off": "Alert settings",
}


def _thread(message: Message, host: str) -> dict[str, str]:
    """All mails about one incident stand together in mail programs."""
    if message.incident is None:
        return {}
    opened = f"{message.incident.opened_at:%Y%m%d%H%M%S}"
    root = f"<incident-{message.incident.id}-{opened}@{host}>"
    return {"References": root, "In-Reply-To": root}


def _subject(message: Message) -> str:
    mark = "" if message.kind in ("resolved", "test") else f"[{message.severity}] "
    return printable(f"{mark}{message.title} ({message.tenant})", SUBJECT_LENGTH)


def _acknowledge_url(message: Message, address: str) -> str:
    if message.incident is None or message.kind == "resolved":
        return ""
    return links.acknowledge_url(message.incident.id, address)
