"""Sends the few mails of this app without making the page wait, nor tell by its time who exists."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)

_sender = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mail")


def is_configured() -> bool:
    """Say whether mail can leave (SMTP_HOST is set)."""
    return bool(settings.MAIL_CONFIGURED)


def send_mail(template: str, to: str, context: dict[str, object]) -> None:
    """Send `emails/<template>.txt` (first line: subject) to one address after the commit.

    Best effort: a mail that the server refuses is in the log, and the page says what to do when
    none arrives. Without SMTP_HOST nothing is sent.
    """
    text = render_to_string(f"emails/{template}.txt", context)
    subject, _, body = text.partition("\n")
    message = EmailMultiAlternatives(subject.strip(), body.strip() + "\n", to=[to])
    transaction.on_commit(lambda: _send_soon(message))


def _send_soon(message: EmailMultiAlternatives) -> None:
    if settings.EMAIL_BACKEND.endswith(".SmtpBackend"):
        _sender.submit(_send, message)
    else:
        _send(message)


def _send(message: EmailMultiAlternatives) -> None:
    try:
        message.send()
    except Exception:  # the page was answered already; servers and networks fail in many ways
        logger.exception("A mail “%s” could not be sent", message.subject)
