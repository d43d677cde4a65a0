"""What every channel promises, and what mail and webhook promise beside it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks import Webhook as Verifier

from alerts.channels.base import Channel, Envelope, TransportError
from alerts.channels.email.channel import Email, compose
from alerts.channels.registry import channels
from alerts.channels.webhook.channel import MOST_BYTES, Webhook, body_of, new_secret
from alerts.message import About, Fact, Item, Message
from alerts.models import AlertSettings
from alerts.policy import Policy
from config.pace import Pace
from tenants.models import Tenant
from tests.alerts.receivers import (
    Receiver,
    answering,
    closing,
    dripping,
    hanging,
    post_office,
    receiver,
)

NOW = dt.datetime(2026, 3, 4, 10, 30, tzinfo=dt.UTC)
NASTY = "Sync\r\nBcc: evil@example.com\x00\u202e <script>alert(1)</script> " + "長" * 300


def message(**fields: Any) -> Message:
    about = About(
        id=12,
        rule="failures",
        status="open",
        count=3,
        opened_at=NOW,
        last_at=NOW,
        workflow_id="wf-1",
        workflow_name="Invoice sync",
        environment="n8n EU",
    )
    whole: dict[str, Any] = {
        "kind": "opened",
        "tenant": "Acme",
        "tenant_slug": "acme",
        "title": "Invoice sync failed 3 times in 24 hours",
        "severity": "critical",
        "url": "http://localhost:8000/t/acme/alerts/12/",
        "at": NOW,
        "text": "Fetch orders: HTTP 500",
        "facts": [Fact("Workflow", "Invoice sync")],
        "incident": about,
    }
    return Message(**whole | fields)


def envelope(**fields: Any) -> Envelope:
    return Envelope(uuid.UUID(int=7), message(**fields), timezone.now())


@contextmanager
def reachable(slug: str, settings: Settings) -> Iterator[Channel]:
    """A channel to a receiver that takes everything."""
    if slug == "email":
        with post_office() as (_, port):
            use_mail_server(settings, port)
            yield Email("ops@example.com")
    else:
        with receiver(answering(204, body=b"")) as running:
            yield Webhook(running.url, [new_secret()])


@contextmanager
def away(slug: str, settings: Settings) -> Iterator[Channel]:
    """The same when nobody is there any more."""
    with reachable(slug, settings) as channel:
        pass
    yield channel


@pytest.fixture(autouse=True)
def _local(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)


def use_mail_server(settings: Settings, port: int) -> None:
    settings.EMAIL_BACKEND = "config.mail.SmtpBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False


every_channel = pytest.mark.parametrize("slug", list(channels()))


@every_channel
def test_every_channel_says_what_it_is(slug: str) -> None:
    channel = channels()[slug]
    assert channel.slug == slug
    assert channel.title
    assert channel.__doc__
    assert sum(channel.pauses) > 3_600, "a receiver may be away for an hour"
    assert list(channel.pauses) == sorted(channel.pauses)


@every_channel
@pytest.mark.parametrize("kind", ["opened", "resolved", "summary", "scan", "test"])
def test_every_channel_brings_every_kind_of_message(
    slug: str, kind: str, settings: Settings
) -> None:
    more = {} if kind in ("opened", "resolved") else {"incident": None}
    items = [Item("Invoice sync failed", "warning", "http://localhost:8000/x")]
    with reachable(slug, settings) as channel:
        channel.send(envelope(kind=kind, items=items, item_count=300, **more))


@every_channel
def test_every_channel_survives_hostile_text(slug: str, settings: Settings) -> None:
    with reachable(slug, settings) as channel:
        channel.send(
            envelope(title=NASTY, text=NASTY, tenant=NASTY, facts=[Fact(NASTY, NASTY)] * 50)
        )


@every_channel
def test_a_receiver_that_is_away_is_tried_again(slug: str, settings: Settings) -> None:
    with away(slug, settings) as channel, pytest.raises(TransportError) as failed:
        channel.send(envelope())
    assert not failed.value.permanent
    assert not failed.value.reached
    assert failed.value.said


@every_channel
def test_channels_are_off_until_somebody_is_named(slug: str) -> None:
    nobody = Policy(Tenant(slug="t"), AlertSettings())
    assert channels()[slug].addresses(nobody) == []


# --- webhook --------------------------------------------------------------------------------------


def test_the_published_library_verifies_what_we_sign() -> None:
    secret = new_secret()
    with receiver(answering(200)) as running:
        sent = Webhook(running.url, [secret]).send(envelope())
        [call] = running.calls
    assert (sent.status, sent.said) == (200, "said")
    event = Verifier(secret).verify(call.body, call.headers)
    assert event["type"] == "alert.opened"
    assert event["data"]["incident"]["count"] == 3
    assert event["data"]["incident"]["workflow_name"] == "Invoice sync"
    assert call.id == str(uuid.UUID(int=7))
    with pytest.raises(Exception, match="signature"):
        Verifier(new_secret()).verify(call.body, call.headers)


def test_a_renewed_secret_and_the_one_before_both_verify_for_a_day() -> None:
    old, new = new_secret(), new_secret()
    stored = AlertSettings(
        webhook_secret=new, webhook_secret_before=old, webhook_secret_renewed_at=NOW
    )
    assert stored.signing_secrets(NOW + dt.timedelta(hours=23)) == [new, old]
    assert stored.signing_secrets(NOW + dt.timedelta(hours=25)) == [new]
    with receiver(answering(200)) as running:
        Webhook(running.url, [new, old]).send(envelope())
        [call] = running.calls
    for secret in (old, new):
        assert Verifier(secret).verify(call.body, call.headers)


@pytest.mark.parametrize(
    ("status", "headers", "permanent", "retry_after"),
    [
        (500, [], False, None),
        (503, ["Retry-After: 120"], False, 120.0),
        (429, ["Retry-After: 7"], False, 7.0),
        (429, ["retry-after: nonsense"], False, None),
        (429, ["Retry-After: -5"], False, None),
        (429, ["Retry-After: Fri, 31 Dec 99999999999 23:59:59 GMT"], False, None),
        (429, ["Retry-After: " + "9" * 5_000], False, None),
        (410, [], True, None),
        (404, [], False, None),
        (301, ["Location: http://127.0.0.1/"], False, None),
        (302, ["Location: http://127.0.0.1/"], False, None),
        (100 + 199, [], None, None),
    ],
)
def test_what_answers_mean(
    status: int, headers: list[str], permanent: bool | None, retry_after: float | None
) -> None:
    with receiver(answering(status, *headers)) as running:
        channel = Webhook(running.url, [new_secret()])
        if permanent is None:
            assert channel.send(envelope()).status == status
            return
        with pytest.raises(TransportError) as failed:
            channel.send(envelope())
        assert len(running.calls) == 1
    error = failed.value
    assert (error.status, error.permanent, error.reached) == (status, permanent, True)
    assert error.retry_after == retry_after


def test_a_date_as_retry_after_is_understood() -> None:
    later = timezone.now() + dt.timedelta(seconds=90)
    header = f"Retry-After: {later:%a, %d %b %Y %H:%M:%S} GMT"
    with receiver(answering(429, header)) as running, pytest.raises(TransportError) as failed:
        Webhook(running.url, []).send(envelope())
    assert failed.value.retry_after == pytest.approx(90, abs=3)


@pytest.mark.parametrize("serve", [hanging, dripping, closing])
def test_a_receiver_that_does_not_answer_may_have_got_it(serve: Any, settings: Settings) -> None:
    settings.PACE = Pace(0.02)
    with receiver(serve) as running, pytest.raises(TransportError) as failed:
        Webhook(running.url, [new_secret()]).send(envelope())
    assert (failed.value.permanent, failed.value.reached) == (False, True)


def test_a_private_address_is_refused_for_good(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = ()
    with receiver(answering(200)) as running, pytest.raises(TransportError) as failed:
        Webhook(running.url, [new_secret()]).send(envelope())
    assert failed.value.permanent
    assert running.connections == 0


def test_bodies_stay_below_20_kb() -> None:
    items = [Item("長" * 300, "critical", "http://localhost/" + "x" * 200)] * 20
    body = body_of(envelope(text="長" * 50_000, title="題" * 500, items=items, item_count=9_000))
    assert len(body) < MOST_BYTES
    data = json.loads(body)["data"]
    assert data["item_count"] == 9_000


def test_the_path_of_a_webhook_is_not_shown() -> None:
    assert Webhook.shown("https://hooks.example.com/T0/secret") == "https://hooks.example.com/…"


# --- mail -----------------------------------------------------------------------------------------


def test_a_mail_is_the_same_on_every_try_and_says_it_in_text_and_html() -> None:
    first = compose(envelope(), "ops@example.com").message()
    again = compose(
        replace(envelope(), at=NOW + dt.timedelta(hours=1)), "ops@example.com"
    ).message()
    assert first["Message-ID"] == again["Message-ID"] == f"<{uuid.UUID(int=7)}@localhost>"
    assert first["Date"] == again["Date"]
    assert first["Auto-Submitted"] == "auto-generated"
    assert (
        str(make_header(decode_header(first["Subject"])))
        == "[critical] Invoice sync failed 3 times in 24 hours (Acme)"
    )
    text, html = (part.get_content() for part in _parsed(first).iter_parts())
    for part in (text, html):
        assert "Invoice sync failed 3 times" in part
        assert "Fetch orders: HTTP 500" in part
        assert "/alerts/acknowledge/" in part


def _parsed(mail: Any) -> EmailMessage:
    parsed = message_from_bytes(mail.as_bytes(), policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_nobody_can_write_headers_or_markup_into_a_mail(settings: Settings) -> None:
    with post_office() as (post, port):
        use_mail_server(settings, port)
        Email("ops@example.com").send(envelope(title=NASTY, tenant=NASTY))
    [(recipient, content)] = post.mails
    head = content.partition("\r\n\r\n")[0]
    assert recipient == "ops@example.com"
    assert not [line for line in head.split("\r\n") if line.lower().startswith("bcc")]
    mail = compose(envelope(title=NASTY), "ops@example.com")
    assert "<script>" not in str(mail.alternatives[0][0])


def test_nobody_can_write_our_lines_into_a_mail() -> None:
    forged = (
        "x\n\nShow the incident: http://evil.test/login\u2028Acknowledge: http://evil.test/\u202e"
    )
    item = Item(forged, "warning", "http://localhost:8000/x", forged)
    whole = envelope(
        title=forged, text=forged, tenant=forged, facts=[Fact(forged, forged)], items=[item]
    )
    mail = compose(whole, "ops@example.com")
    lines = str(mail.body).splitlines()
    assert [line for line in lines if line.startswith("Show the incident:")] == [
        "Show the incident: http://localhost:8000/t/acme/alerts/12/"
    ]
    [acknowledge] = [line for line in lines if line.startswith("Acknowledge:")]
    assert "evil" not in acknowledge
    assert "> Show the incident: http://evil.test/login" in lines, "what was said is quoted"
    assert "\u202e" not in str(mail.body) + str(mail.alternatives[0][0])


def test_mails_of_one_incident_stand_together() -> None:
    opened = compose(envelope(), "a@example.com").message()
    resolved = compose(envelope(kind="resolved"), "a@example.com").message()
    assert opened["References"] == resolved["References"]
    assert "acknowledge" not in str(compose(envelope(kind="resolved"), "a@example.com").body)


@pytest.mark.parametrize(
    ("behaviour", "permanent", "reached"),
    [
        ({"refused": {"ops@example.com": "550 no such user"}}, True, False),
        ({"refused": {"ops@example.com": "450 busy"}}, False, False),
        ({"answer_after_dot": "554 spam"}, True, False),
        ({"answer_after_dot": "451 later"}, False, False),
        ({"cuts_after_dot": 1}, False, True),
    ],
)
def test_what_mail_servers_say(
    behaviour: dict[str, Any], permanent: bool, reached: bool, settings: Settings
) -> None:
    with post_office(**behaviour) as (_, port):
        use_mail_server(settings, port)
        with pytest.raises(TransportError) as failed:
            Email("ops@example.com").send(envelope())
    assert (failed.value.permanent, failed.value.reached) == (permanent, reached), failed.value.said


def test_a_slow_mail_server_is_cut_off(settings: Settings) -> None:
    settings.PACE = Pace(0.01)
    with post_office(slow_seconds=0.3) as (_, port):
        use_mail_server(settings, port)
        with pytest.raises(TransportError) as failed:
            Email("ops@example.com").send(envelope())
    assert not failed.value.permanent


def dripping_welcome(connected: socket.socket, running: Receiver) -> None:
    """One byte every twentieth of a second, from the beginning and without end."""
    while not running.stopped.wait(0.05):
        connected.sendall(b"2")


def test_a_mail_server_that_drips_its_welcome_is_cut_off(settings: Settings) -> None:
    settings.PACE = Pace(0.01)
    with receiver(dripping_welcome) as running:
        use_mail_server(settings, running.port)
        began = time.monotonic()
        with pytest.raises(TransportError) as failed:
            Email("ops@example.com").send(envelope())
        assert time.monotonic() - began < 5
    assert not failed.value.permanent


@pytest.mark.parametrize("flooded", ["welcome", "answer"])
def test_a_mail_server_that_never_stops_talking_is_left(flooded: str, settings: Settings) -> None:
    sent: list[int] = []

    def flooding(connected: socket.socket, running: Receiver) -> None:
        code = b"220"
        if flooded == "answer":
            connected.sendall(b"220 hello\r\n")
            connected.recv(1_000)
            code = b"250"
        while not running.stopped.is_set():
            sent.append(connected.send((code + b"-" + b"x" * 500 + b"\r\n") * 100))

    with receiver(flooding) as running:
        use_mail_server(settings, running.port)
        with pytest.raises(TransportError) as failed:
            Email("ops@example.com").send(envelope())
    assert not failed.value.permanent
    assert "said too much" in failed.value.said
    assert sum(sent) < 32 * 1024 * 1024, "no more than what lay in buffers"
