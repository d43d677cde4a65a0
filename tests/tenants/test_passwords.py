"""Resetting a password by mail, setting one by link, changing it; what ends with it."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from tenants.models import AuditEvent, Session, User
from tenants.passwords import set_password_link
from tenants.scoping import across_tenants
from tests.tenants.factories import PASSWORD, make_person

pytestmark = pytest.mark.django_db

NEW = "an entirely new sentence"


@pytest.fixture
def person() -> User:
    return make_person(email="ann@example.com")


def ask(client: Client, email: str, capture: Any, ip: str = "192.0.2.1") -> Any:
    with capture(execute=True):
        return client.post("/password/reset/", {"email": email}, REMOTE_ADDR=ip)


def link_in_mail() -> str:
    found = re.search(r"https?://\S+/password/set/\S+", str(mail.outbox[-1].body))
    assert found, mail.outbox[-1].body
    return urlsplit(found.group()).path


def open_link(client: Client, link: str) -> str:
    """Follow the link as a browser does and return the address of the form."""
    response = client.get(link)
    assert response.status_code == 302
    assert response["Location"].endswith("/form/")
    return str(response["Location"])


def test_a_mail_brings_a_link_that_sets_the_password_and_signs_in(
    person: User, django_capture_on_commit_callbacks: Any
) -> None:
    client = Client()
    answer = ask(client, "Ann@example.com", django_capture_on_commit_callbacks)
    assert answer["Location"] == "/password/reset/sent/"
    assert mail.outbox[-1].to == [person.email]
    form = open_link(client, link_in_mail())
    assert person.email in client.get(form).content.decode()
    assert client.post(form, {"new_password": NEW})["Location"] == "/"
    assert client.get("/account/").status_code == 200
    person.refresh_from_db()
    assert person.check_password(NEW)


def test_opening_the_link_changes_nothing(person: User) -> None:
    link = urlsplit(set_password_link(person)).path
    scanner = Client()
    scanner.get(scanner.get(link)["Location"])
    person.refresh_from_db()
    assert person.check_password(PASSWORD)
    open_link(Client(), link)


def test_a_link_works_once(person: User) -> None:
    link = urlsplit(set_password_link(person)).path
    client = Client()
    client.post(open_link(client, link), {"new_password": NEW})
    assert Client().get(link).status_code == 410


@pytest.mark.django_db(transaction=True)
def test_a_link_works_once_however_many_use_it_together() -> None:
    someone = make_person()
    link = urlsplit(set_password_link(someone)).path
    together = 5
    clients = [Client() for _ in range(together)]
    forms = [open_link(client, link) for client in clients]
    start = threading.Barrier(together)

    def use(number: int) -> int:
        try:
            start.wait(30)
            return (
                clients[number].post(forms[number], {"new_password": f"{NEW} {number}"}).status_code
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(together) as pool:
        answers = list(pool.map(use, range(together)))
    assert sorted(answers) == [302] + [410] * (together - 1)
    someone.refresh_from_db()
    assert someone.check_password(f"{NEW} {answers.index(302)}")


@pytest.mark.parametrize(
    "link",
    [
        "/password/set/x/y/",
        "/password/set/MQ/abc-def/",
        "/password/set/MQ/form/",
        "/password/set/OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5/a-b/",
        "/password/set/LTE/a-b/",
        "/password/set/%00/%00/",
        "/password/set/w4k/a-b/",
        "/password/set/8J-YgA/a-b/",
    ],
)
def test_a_link_that_was_made_up_is_void(link: str) -> None:
    response = Client().get(link)
    assert response.status_code == 410
    assert "no longer works" in response.content.decode()
    assert Client().post(link, {"new_password": NEW}).status_code == 410


def test_another_persons_link_can_not_be_bent(person: User) -> None:
    other = make_person()
    uid, _ = set_password_link(other).rstrip("/").split("/")[-2:]
    token = set_password_link(person).rstrip("/").split("/")[-1]
    assert Client().get(f"/password/set/{uid}/{token}/").status_code == 410


@pytest.mark.parametrize("weak", ["short", "1234567890", "password123", "ann@example.com"])
def test_a_weak_password_is_refused_with_the_reason(person: User, weak: str) -> None:
    client = Client()
    form = open_link(client, urlsplit(set_password_link(person)).path)
    page = client.post(form, {"new_password": weak})
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_an_unknown_address_gets_the_same_answer_and_no_mail(
    person: User, django_capture_on_commit_callbacks: Any
) -> None:
    known = ask(Client(), person.email, django_capture_on_commit_callbacks)
    unknown = ask(Client(), "nobody@example.com", django_capture_on_commit_callbacks)
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert [sent.to for sent in mail.outbox] == [[person.email]]


def test_a_switched_off_person_gets_no_link(django_capture_on_commit_callbacks: Any) -> None:
    off = make_person(is_active=False)
    ask(Client(), off.email, django_capture_on_commit_callbacks)
    assert not mail.outbox
    assert Client().get(urlsplit(set_password_link(off)).path).status_code == 410


def test_an_invited_person_without_password_can_ask_for_a_link(
    django_capture_on_commit_callbacks: Any,
) -> None:
    invited = make_person(password=None)
    ask(Client(), invited.email, django_capture_on_commit_callbacks)
    client = Client()
    assert client.post(open_link(client, link_in_mail()), {"new_password": NEW}).status_code == 302


def test_a_mailbox_gets_five_mails_an_hour_at_most(
    person: User, django_capture_on_commit_callbacks: Any
) -> None:
    for n in range(12):
        ask(Client(), person.email, django_capture_on_commit_callbacks, ip=f"192.0.2.{n}")
    assert len(mail.outbox) == 5


def test_one_address_may_ask_30_times_an_hour(django_capture_on_commit_callbacks: Any) -> None:
    for n in range(30):
        ask(Client(), f"p{n}@example.com", django_capture_on_commit_callbacks)
    page = ask(Client(), "p@example.com", django_capture_on_commit_callbacks)
    assert "Too many requests" in page.content.decode()


def test_without_mail_server_the_page_says_whom_to_ask(settings: Any) -> None:
    settings.MAIL_CONFIGURED = False
    page = Client().get("/password/reset/").content.decode()
    assert "sends no mail" in page
    assert 'name="email"' not in page


def test_a_reset_lifts_the_limits_for_its_browser(person: User) -> None:
    for n in range(12):
        Client().post("/sign-in/", {"email": person.email, "password": f"guess {n}"})
    client = Client()
    client.post(open_link(client, urlsplit(set_password_link(person)).path), {"new_password": NEW})
    client.post("/sign-out/")
    answer = client.post("/sign-in/", {"email": person.email, "password": NEW})
    assert answer.status_code == 302


# --- changing it --------------------------------------------------------------------------------


def signed_in_by_form(person: User, ip: str = "192.0.2.1") -> Client:
    client = Client(REMOTE_ADDR=ip)
    answer = client.post("/sign-in/", {"email": person.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def test_changing_the_password_ends_all_other_sessions(person: User) -> None:
    here, there = signed_in_by_form(person), signed_in_by_form(person)
    answer = here.post("/account/password/", {"password": PASSWORD, "new_password": NEW})
    assert answer["Location"] == "/account/"
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302
    assert Session.objects.filter(user=person).count() == 1
    assert (
        Client().post("/sign-in/", {"email": person.email, "password": PASSWORD}).status_code == 200
    )


def test_setting_the_password_by_link_ends_all_sessions(person: User) -> None:
    there = signed_in_by_form(person)
    person.refresh_from_db()
    client = Client()
    client.post(open_link(client, urlsplit(set_password_link(person)).path), {"new_password": NEW})
    assert there.get("/account/").status_code == 302


def test_changing_forgets_the_places_that_were_known(person: User) -> None:
    there = signed_in_by_form(person, ip="198.51.100.1")
    here = signed_in_by_form(person)
    here.post("/account/password/", {"password": PASSWORD, "new_password": NEW})
    assert person.known_places.count() == 2  # this browser and this address
    for n in range(11):
        Client().post(
            "/sign-in/",
            {"email": person.email, "password": f"guess {n}"},
            REMOTE_ADDR="203.0.113.5",
        )
    answer = there.post("/sign-in/", {"email": person.email, "password": NEW})
    assert answer.status_code == 429


def test_the_present_password_is_needed_to_change_it(person: User) -> None:
    client = signed_in_by_form(person)
    page = client.post("/account/password/", {"password": "wrong", "new_password": NEW})
    assert "not your present password" in page.content.decode()
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_the_present_password_can_not_be_guessed_without_end(person: User) -> None:
    client = signed_in_by_form(person)
    for n in range(11):
        page = client.post("/account/password/", {"password": f"guess {n}", "new_password": NEW})
    assert "Too many tries" in page.content.decode()


def test_setting_and_changing_are_in_the_audit_log_without_secrets(person: User) -> None:
    client = signed_in_by_form(person)
    client.post("/account/password/", {"password": PASSWORD, "new_password": NEW})
    with across_tenants():
        rows = list(AuditEvent.objects.values())
    assert "password.set" in {row["action"] for row in rows}
    assert NEW not in str(rows)
    assert PASSWORD not in str(rows)
