"""Mail through a real server: what the ports promise, and that no failure shows or delays a page."""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from django.core.mail import EmailMessage
from django.db import connection
from pytest_django.live_server_helper import LiveServer

from config.mail import SmtpBackend, tls_of
from tenants import mail
from tenants.models import Role, User
from tests.config.trees import free_port, wait_for
from tests.fakes.smtp import PASSWORD, USER, Mailbox, silent_server, smtp_server
from tests.tenants.factories import PASSWORD as OLD
from tests.tenants.factories import make_member, make_person, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "an entirely new sentence"
LONGEST_PAGE = 2.0
"""Seconds in which a page answers, whatever the mail server does."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the test's certificates as those of public authorities are trusted."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def use_server(settings: Any, port: int, *, as_port: int = 25, sign_in: bool = False) -> None:
    """Send by the server on `port` as the settings would do on `as_port`."""
    settings.EMAIL_BACKEND = "config.mail.SmtpBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", port
    settings.EMAIL_USE_SSL, settings.EMAIL_USE_TLS = tls_of(as_port)
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = (
        (USER, PASSWORD) if sign_in else ("",) * 2
    )
    settings.EMAIL_TIMEOUT = 0.5


@pytest.fixture
def mailbox(authority: trustme.CA, settings: Any) -> Iterator[Mailbox]:
    with smtp_server(authority) as mailbox:
        use_server(settings, mailbox.port)
        yield mailbox


@pytest.fixture
def person() -> User:
    return make_person(email="ann@example.com")


class Browser(httpx.Client):
    """Keeps cookies and sends the token of the form it has seen."""

    def submit(self, path: str, **data: str) -> httpx.Response:
        """Open a page with a form and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path).text)
        assert token, f"no form at {path}"
        return self.post(path, data={"csrfmiddlewaretoken": token[1], **data})


@pytest.fixture
def browser(live_server: LiveServer) -> Iterator[Browser]:
    with Browser(base_url=live_server.url, timeout=10, follow_redirects=True) as browser:
        yield browser


def ask(browser: Browser, address: str = "ann@example.com") -> httpx.Response:
    began = time.monotonic()
    page = browser.submit("/password/reset/", email=address)
    assert time.monotonic() - began < LONGEST_PAGE
    assert page.status_code == 200
    assert page.url.path == "/password/reset/sent/"
    return page


def link_of(mailbox: Mailbox) -> str:
    found = re.search(r"^http\S+", mailbox.wait_for_mail().get_content(), re.MULTILINE)
    assert found
    return found.group()


# --- a password is reset --------------------------------------------------------------------------


def test_a_mail_lets_its_reader_set_a_password_once_and_ends_other_sessions(
    browser: Browser, live_server: LiveServer, person: User, mailbox: Mailbox
) -> None:
    with Browser(base_url=live_server.url, follow_redirects=True) as elsewhere:
        elsewhere.submit("/sign-in/", email=person.email, password=OLD)
        assert elsewhere.get("/account/").url.path == "/account/"
        ask(browser, " Ann@Example.com ")
        path = urlsplit(link_of(mailbox)).path
        form = browser.get(path).url.path
        assert browser.submit(form, new_password=NEW).status_code == 200
        assert browser.get("/account/").url.path == "/account/"
        assert elsewhere.get("/account/").url.path == "/sign-in/"
        assert elsewhere.get(path).status_code == 410
        elsewhere.submit("/sign-in/", email=person.email, password=NEW)
        assert elsewhere.get("/account/").url.path == "/account/"


def test_the_mail_goes_to_the_person_from_the_installation(
    browser: Browser, person: User, mailbox: Mailbox, settings: Any
) -> None:
    ask(browser)
    sent = mailbox.wait_for_mail()
    assert sent["To"] == person.email
    assert sent["From"] == settings.DEFAULT_FROM_EMAIL
    assert sent["Subject"] == "Set your Flowwatch password"
    assert not mailbox.mails


def test_an_address_is_never_a_second_header_or_recipient(
    browser: Browser, person: User, mailbox: Mailbox
) -> None:
    for hostile in ("ann@example.com\r\nBcc: eve@example.com", "ann@example.com,eve@example.com"):
        page = browser.submit("/password/reset/", email=hostile)
        assert page.url.path == "/password/reset/"
    ask(browser)
    sent = mailbox.wait_for_mail()
    assert (sent["To"], sent["Bcc"], sent["Cc"]) == (person.email, None, None)
    assert not mailbox.mails


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost@evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "host=evil.example"},
        {"Host": "localhost:9"},
        {"X-Forwarded-Proto": "gopher"},
        {"Referer": "http://evil.example/", "Origin": "null"},
    ],
    ids=str,
)
def test_the_link_leads_to_frontend_url_whatever_the_request_says(
    browser: Browser, person: User, mailbox: Mailbox, settings: Any, headers: dict[str, str]
) -> None:
    settings.FRONTEND_URL = "https://flowwatch.example.com"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    page = browser.get("/password/reset/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    data = {"csrfmiddlewaretoken": token[1], "email": person.email}
    answer = browser.post("/password/reset/", data=data, headers=headers, follow_redirects=False)
    if answer.status_code == 302:
        assert answer.headers["Location"] == "/password/reset/sent/"
        link = link_of(mailbox)
        assert link.startswith("https://flowwatch.example.com/password/set/")
    else:
        assert answer.status_code in (400, 403)
        assert "evil.example/password" not in answer.text
    assert not mailbox.mails


def test_an_invitation_brings_a_link_and_its_inviter_sees_none(
    browser: Browser, mailbox: Mailbox
) -> None:
    tenant = make_tenant(slug="acme", name="Acme")
    owner = make_member(tenant, Role.OWNER)
    browser.submit("/sign-in/", email=owner.email, password=OLD)
    page = browser.submit("/t/acme/settings/members/", email="new@example.com", role="viewer")
    sent = mailbox.wait_for_mail()
    assert sent["To"] == "new@example.com"
    link = re.search(r"/password/set/\S+", sent.get_content())
    assert link
    assert link.group() not in page.text
    with Browser(base_url=browser.base_url, follow_redirects=True) as invited:
        form = invited.get(link.group()).url.path
        invited.submit(form, new_password=NEW)
        assert "Acme" in invited.get("/t/acme/").text


# --- a server that does not do its work -----------------------------------------------------------


def failures(caplog: pytest.LogCaptureFixture, number: int = 1) -> str:
    """What the log says when so many mails could not be sent."""

    def said() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "tenants.mail"]

    wait_for(lambda: len(said()) == number, 20, f"{number} failures are in the log")
    return caplog.text


@pytest.mark.parametrize("kind", ["refused", "silent", "rejecting"])
def test_a_failing_server_neither_delays_the_page_nor_tells_who_exists(
    kind: str,
    browser: Browser,
    person: User,
    mailbox: Mailbox,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with silent_server() as silent:
        if kind == "rejecting":
            mailbox.refusal = "550 no such mailbox"
        else:
            use_server(settings, silent if kind == "silent" else free_port())
            settings.EMAIL_TIMEOUT = LONGEST_PAGE + 1  # a page that waits for it is seen
        known = ask(browser, person.email)
        unknown = ask(browser, "nobody@example.com")
        assert known.text == unknown.text
        assert "ask the operator" in known.text
        said = failures(caplog)
    assert "A mail “Set your Flowwatch password” could not be sent" in said
    assert "/password/set/" not in said


def test_many_mails_to_a_silent_server_hold_no_page(
    browser: Browser, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    people = [make_person() for _ in range(6)]
    with silent_server() as silent:
        use_server(settings, silent)
        for one in people:
            ask(browser, one.email)
        failures(caplog, len(people))


def test_a_mail_holds_no_connection_to_the_database(person: User, mailbox: Mailbox) -> None:
    mail.send_mail("set_password", person.email, {"person": person, "link": "http://x/"})
    mailbox.wait_for_mail()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state LIKE 'idle in tr%%'"
        )
        assert cursor.fetchone() == (0,)


# --- what the ports promise -----------------------------------------------------------------------


def send(person: User) -> None:
    mail.send_mail("set_password", person.email, {"person": person, "link": "http://x/"})


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("port", "security", "is_hidden"),
    [(587, "starttls", True), (465, "tls", True), (25, "starttls", True), (25, "plain", False)],
)
@pytest.mark.parametrize("sign_in", [True, False])
def test_each_port_keeps_its_promise(
    port: int,
    security: Any,
    is_hidden: bool,
    sign_in: bool,
    person: User,
    authority: trustme.CA,
    settings: Any,
) -> None:
    with smtp_server(authority, security) as mailbox:
        use_server(settings, mailbox.port, as_port=port, sign_in=sign_in)
        send(person)
        mailbox.wait_for_mail()
        assert mailbox.over_tls == [is_hidden]
        assert mailbox.sign_ins == ([(PASSWORD, is_hidden)] if sign_in else [])


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("port", "security"), [(587, "plain"), (465, "plain"), (465, "starttls")])
def test_a_port_that_promises_tls_takes_nothing_less(
    port: int,
    security: Any,
    person: User,
    authority: trustme.CA,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with smtp_server(authority, security) as mailbox:
        use_server(settings, mailbox.port, as_port=port, sign_in=True)
        send(person)
        failures(caplog)
        assert (mailbox.mails, mailbox.sign_ins) == ([], [])


@pytest.mark.parametrize(("port", "security"), [(587, "starttls"), (465, "tls"), (25, "starttls")])
def test_a_certificate_that_nobody_vouches_for_gets_no_password_and_no_mail(
    port: int,
    security: Any,
    person: User,
    authority: trustme.CA,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with smtp_server(authority, security) as mailbox:
        use_server(settings, mailbox.port, as_port=port, sign_in=True)
        send(person)
        assert "CERTIFICATE_VERIFY_FAILED" in failures(caplog)
        assert (mailbox.mails, mailbox.sign_ins) == ([], [])


def test_a_connection_that_could_not_be_hidden_is_not_used_the_next_time(
    authority: trustme.CA, settings: Any
) -> None:
    with smtp_server(authority, "starttls") as mailbox:
        use_server(settings, mailbox.port, sign_in=True)
        backend = SmtpBackend()
        message = EmailMessage("s", "b", to=["ann@example.com"], connection=backend)
        for _ in range(2):
            with pytest.raises(ssl.SSLCertVerificationError):
                message.send()
        assert (mailbox.mails, mailbox.sign_ins) == ([], [])
