"""Signing in, its limits, and that strangers can't lock the right person out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import MD5PasswordHasher, PBKDF2PasswordHasher
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from tenants import throttle
from tenants.models import AuditEvent, Role, Session, SignInBucket, User
from tenants.scoping import across_tenants
from tenants.sessions import ABSOLUTE_LIMIT, idle_limit
from tenants.sign_in import ADDRESS, STRANGERS, TooManyTries, check_password, device_cookie_name
from tenants.throttle import Limit
from tests.tenants.factories import (
    PASSWORD,
    make_member,
    make_operator,
    make_person,
    make_tenant,
    signed_in_as,
    without_csrf,
)

pytestmark = pytest.mark.django_db

SIGN_IN = "/sign-in/"


@pytest.fixture
def person() -> User:
    return make_member(make_tenant(slug="acme"), Role.OWNER, email="ann@example.com")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the passwords that reach the hasher."""
    seen: list[str] = []
    encode = MD5PasswordHasher.encode

    def counting(self: MD5PasswordHasher, password: str, salt: str) -> str:
        seen.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counting)
    return seen


def sign_in(
    client: Client, email: str, password: str = PASSWORD, ip: str = "192.0.2.1", **data: str
) -> Any:
    return client.post(SIGN_IN, {"email": email, "password": password, **data}, REMOTE_ADDR=ip)


def is_in(client: Client) -> bool:
    return bool(client.get("/account/").status_code == 200)


# --- the right password -------------------------------------------------------------------------


def test_the_right_password_leads_to_the_tenant(person: User) -> None:
    client = Client()
    response = sign_in(client, "Ann@Example.COM ")
    assert response.status_code == 302
    assert client.get(response["Location"])["Location"] == "/t/acme/"
    assert is_in(client)


def test_a_person_without_tenant_is_told_whom_to_ask() -> None:
    client = Client()
    sign_in(client, make_person().email)
    page = client.get("/")
    assert page.status_code == 200
    assert "belong to no tenant" in page.content.decode()


TENANTS_IN_ADMIN = 'href="/admin/tenants/tenant/"'


def test_an_operator_without_membership_is_led_to_the_tenants_there_are() -> None:
    client = signed_in_as(make_operator())
    page = client.get("/").content.decode()
    assert "No tenant yet" in page
    assert TENANTS_IN_ADMIN not in page
    make_tenant(slug="acme")
    page = client.get("/").content.decode()
    assert "No tenant yet" not in page
    assert "You belong to no tenant" in page
    assert TENANTS_IN_ADMIN in page
    assert TENANTS_IN_ADMIN not in signed_in_as(make_person()).get("/").content.decode()


def test_the_start_page_leads_to_the_tenant_seen_last(person: User) -> None:
    from tenants.models import Membership

    later = make_tenant(name="Zulu", slug="zulu")
    Membership.objects.create(tenant=later, user=person, role=Role.OWNER)
    client = signed_in_as(person)
    assert client.get("/")["Location"] == "/t/acme/"
    client.get("/t/zulu/settings/tokens/")
    assert client.get("/")["Location"] == "/t/zulu/"


def test_anybody_not_signed_in_is_asked_to_and_brought_back(person: User) -> None:
    client = Client()
    asked = client.get("/t/acme/settings/tokens/?a=1&b=2")
    assert asked["Location"].startswith("/sign-in/?next=")
    page = client.get(asked["Location"])
    assert 'name="next" value="/t/acme/settings/tokens/?a=1&amp;b=2"' in page.content.decode()
    back = sign_in(client, person.email, next="/t/acme/settings/tokens/?a=1&b=2")
    assert back["Location"] == "/t/acme/settings/tokens/?a=1&b=2"


def test_a_part_that_htmx_asks_for_sends_the_whole_page_to_sign_in() -> None:
    response = Client().get(
        "/t/acme/settings/tokens/",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/t/acme/?x=1"},
    )
    assert response.status_code == 204
    assert response["HX-Redirect"] == "/sign-in/?next=%2Ft%2Facme%2F%3Fx%3D1"


def test_a_broken_address_of_the_shown_page_leads_back_to_the_start() -> None:
    response = Client().get(
        "/t/acme/", headers={"HX-Request": "true", "HX-Current-URL": "http://[bad"}
    )
    assert (response.status_code, response["HX-Redirect"]) == (204, "/sign-in/?next=%2F")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "///evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "/ok\r\nX-Evil: 1",
        "\x00",
    ],
)
def test_next_never_leads_to_another_site(person: User, elsewhere: str) -> None:
    assert sign_in(Client(), person.email, next=elsewhere)["Location"] == "/"
    assert signed_in_as(person).get(SIGN_IN, {"next": elsewhere})["Location"] == "/"


@property_settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_typed_the_answer_is_the_form_again(
    person: User, email: str, password: str, back: str
) -> None:
    data = {"email": email, "password": password, "next": back}
    try:
        response = Client().post(SIGN_IN, data)
    except UnicodeEncodeError:  # lone surrogates can't leave the test's client
        return
    assert response.status_code in (200, 429)


def test_signing_in_gives_a_new_session_id(person: User) -> None:
    client = Client()
    session = client.session
    session["kept"] = "from before"
    session.save()
    before = session.session_key
    sign_in(client, person.email)
    assert client.session.session_key != before
    assert not Session.objects.filter(session_key=before).exists()


def test_signing_out_needs_post_and_ends_the_session(person: User) -> None:
    client = Client()
    sign_in(client, person.email)
    assert client.get("/sign-out/").status_code == 405
    assert is_in(client)
    key = client.session.session_key
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert not is_in(client)
    assert not Session.objects.filter(session_key=key).exists()


def test_the_forms_are_safe_from_other_sites(person: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert sign_in(strict, person.email).status_code == 403
    assert strict.post("/sign-out/").status_code == 403


# --- the wrong password -------------------------------------------------------------------------


def test_wrong_password_unknown_mail_and_switched_off_look_the_same(person: User) -> None:
    make_person(email="off@example.com", is_active=False)
    invited = make_person(email="invited@example.com", password=None)
    assert not invited.has_usable_password()
    pages = {
        sign_in(Client(), email, word, ip=f"192.0.2.{i}")
        .content.decode()
        .split("<h1>")[1]
        .replace(email, "")
        for i, (email, word) in enumerate(
            [
                (person.email, "wrong"),
                ("nobody@example.com", PASSWORD),
                ("off@example.com", PASSWORD),
                (invited.email, PASSWORD),
            ]
        )
    }
    assert len({without_csrf(page) for page in pages}) == 1
    assert "belong together" in pages.pop()


class SlowHasher(PBKDF2PasswordHasher):
    """Slow enough to be told from no hashing at all, on a busy machine too."""

    iterations = 200_000


def test_unknown_mail_takes_as_long_as_known(person: User, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.{SlowHasher.__name__}"]
    person.set_password(PASSWORD)
    person.save()

    def cost(email: str) -> tuple[float, int]:
        """Return the processor time and the number of queries of one wrong try."""
        with CaptureQueriesContext(connection) as queries:
            started = time.thread_time()
            sign_in(Client(), email, "wrong", ip=f"192.0.2.{len(known)}")
            return time.thread_time() - started, len(queries)

    known: list[tuple[float, int]] = []
    unknown: list[tuple[float, int]] = []
    for n in range(6):
        known.append(cost(person.email))
        unknown.append(cost(f"nobody-{n}@example.com"))
    assert {count for _, count in known} == {count for _, count in unknown}
    assert abs(min(known)[0] - min(unknown)[0]) < 0.02


def guess(email: str, password: str, ip: str) -> User | None:
    """Try a password as the sign-in page does, without drawing the page."""
    return check_password(RequestFactory().post(SIGN_IN, REMOTE_ADDR=ip), email, password)


def guesses(email: str, count: int, addresses: int) -> Iterator[bool]:
    """Guess from so many addresses in turn; yield whether each guess was looked at."""
    for n in range(count):
        try:
            assert guess(email, f"guess {n}", f"203.0.113.{n % addresses}") is None
            yield True
        except TooManyTries:
            yield False


@pytest.mark.parametrize("addresses", [1, 50])
def test_of_1000_guesses_ten_are_looked_at_and_the_usual_places_still_work(
    person: User, hashed: list[str], addresses: int
) -> None:
    usual = Client()
    assert sign_in(usual, person.email, ip="198.51.100.7").status_code == 302
    device = usual.cookies[device_cookie_name()].value
    hashed.clear()

    looked_at = list(guesses(person.email, 1_000, addresses))
    assert looked_at == [True] * 10 + [False] * 990
    assert len(hashed) == 10

    # The attacker's own right guess is not looked at any more either.
    refused = sign_in(Client(), person.email, ip="203.0.113.0")
    assert refused.status_code == 429
    assert "Too many tries" in refused.content.decode()
    # The usual address, in a new browser.
    assert sign_in(Client(), person.email, ip="198.51.100.7").status_code == 302
    # The usual browser, from a new address, even the attacker's.
    travelling = Client()
    travelling.cookies[device_cookie_name()] = device
    assert sign_in(travelling, person.email, ip="203.0.113.0").status_code == 302


def test_one_address_reaches_the_hasher_100_times_an_hour_over_all_accounts(
    hashed: list[str],
) -> None:
    for n in range(200):
        with suppress(TooManyTries):
            guess(f"person-{n}@example.com", "guess", "203.0.113.1")
    assert len(hashed) == ADDRESS.tries
    assert SignInBucket.objects.count() == ADDRESS.tries + 1
    # A neighbour in the same IPv4 network is somebody else; in the same IPv6 /64 it isn't.
    assert sign_in(Client(), "z@example.com", "guess", ip="203.0.113.2").status_code == 200


def test_an_ipv6_network_counts_as_one_address(hashed: list[str]) -> None:
    for n in range(150):
        with suppress(TooManyTries):
            guess(f"person-{n}@example.com", "guess", f"2001:db8::{n + 1:x}")
    assert len(hashed) == ADDRESS.tries


def test_the_known_browser_of_one_person_is_a_stranger_to_others(
    person: User, hashed: list[str]
) -> None:
    other = make_person()
    client = Client()
    sign_in(client, person.email, ip="198.51.100.7")
    client.post("/sign-out/")
    hashed.clear()
    for n in range(30):
        sign_in(client, other.email, f"guess {n}", ip="198.51.100.7")
    assert len(hashed) == STRANGERS.tries


def test_an_invented_device_cookie_helps_nobody(person: User, hashed: list[str]) -> None:
    for n in range(30):
        client = Client()
        client.cookies[device_cookie_name()] = f"invented {n}"
        sign_in(client, person.email, f"guess {n}", ip=f"203.0.113.{n}")
    assert len(hashed) == STRANGERS.tries


def test_a_known_browser_can_be_used_to_guess_ten_times_only(
    person: User, hashed: list[str]
) -> None:
    client = Client()
    sign_in(client, person.email)
    client.post("/sign-out/")
    hashed.clear()
    for n in range(30):
        sign_in(client, person.email, f"guess {n}")
    assert len(hashed) == 10


def test_right_passwords_use_up_no_tries(person: User) -> None:
    for _ in range(30):
        assert sign_in(Client(), person.email).status_code == 302


def test_after_a_quarter_of_an_hour_strangers_may_try_again(person: User) -> None:
    for n in range(11):
        last = sign_in(Client(), person.email, f"guess {n}")
    assert last.status_code == 429
    _age_buckets(timedelta(minutes=14))
    assert sign_in(Client(), person.email).status_code == 429
    _age_buckets(timedelta(minutes=2))
    assert sign_in(Client(), person.email).status_code == 302


def test_refused_tries_do_not_prolong_the_pause(person: User) -> None:
    list(guesses(person.email, 50, 1))
    assert len(SignInBucket.objects.get(key=STRANGERS.bucket(person.email).key).hits) == 10


def _age_buckets(by: timedelta) -> None:
    """Let time pass for the counters."""
    for bucket in SignInBucket.objects.all():
        bucket.hits = [hit - by for hit in bucket.hits]
        bucket.save()


@property_settings(max_examples=40, deadline=None)
@given(
    tries=st.integers(1, 5),
    seconds=st.lists(st.integers(0, 120), min_size=1, max_size=40).map(sorted),
)
def test_in_no_window_more_tries_pass_than_the_limit_says(tries: int, seconds: list[int]) -> None:
    limit = Limit("property", tries, timedelta(seconds=30))
    start = timezone.now()
    bucket = limit.bucket(str((tries, seconds, time.perf_counter_ns())))
    passed = [s for s in seconds if bucket.take(start + timedelta(seconds=s))]
    for s in seconds:
        in_window = [p for p in passed if s - 30 < p <= s]
        assert len(in_window) <= tries
        # And none is refused without need.
        assert s in passed or len(in_window) == tries


@pytest.mark.django_db(transaction=True)
def test_tries_at_the_same_instant_do_not_pass_together() -> None:
    bucket = Limit("race", 10, timedelta(minutes=15)).bucket("x")
    now = timezone.now()

    def attempt(_: int) -> bool:
        try:
            return bucket.take(now)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(40))) == 10


def test_old_counters_are_removed(person: User) -> None:
    sign_in(Client(), "nobody@example.com", "guess")
    SignInBucket.objects.update(last_hit_at=timezone.now() - throttle.KEEP - timedelta(hours=1))
    sign_in(Client(), person.email)
    assert SignInBucket.objects.filter(last_hit_at__lt=timezone.now() - throttle.KEEP).count() == 0


def test_the_counters_hold_no_addresses(person: User) -> None:
    sign_in(Client(), person.email, "guess", ip="203.0.113.77")
    stored = " ".join(str(vars(bucket)) for bucket in SignInBucket.objects.all())
    assert person.email not in stored
    assert "203.0.113.77" not in stored


# --- what is written down -----------------------------------------------------------------------


def test_every_try_that_was_looked_at_is_in_the_audit_log(person: User) -> None:
    client = Client()
    sign_in(client, person.email, "wrong", ip="192.0.2.8")
    sign_in(client, "hunter2 typed into the wrong field", "wrong")
    sign_in(client, person.email)
    client.post("/sign-out/")
    with across_tenants():
        rows = [(e.action, e.subject, e.ip) for e in AuditEvent.objects.order_by("id")]
    assert rows == [
        ("sign-in.failed", person.email, "192.0.2.8"),
        ("sign-in.failed", "unknown address", "192.0.2.1"),
        ("sign-in.success", person.email, "192.0.2.1"),
        ("sign-out", person.email, "127.0.0.1"),
    ]


# --- how long a session lives -------------------------------------------------------------------


def test_a_session_ends_after_a_time_without_use(person: User) -> None:
    client = Client()
    sign_in(client, person.email)
    _age_session(idle_limit() - timedelta(hours=1))
    assert is_in(client)
    _age_session(idle_limit() + timedelta(seconds=1))
    assert not is_in(client)


def test_use_prolongs_a_session_but_not_beyond_its_end(person: User) -> None:
    client = Client()
    sign_in(client, person.email)
    began = timezone.now() - ABSOLUTE_LIMIT + timedelta(hours=1)
    used = timezone.now() - timedelta(hours=1)
    Session.objects.update(created_at=began, last_seen_at=used)
    assert is_in(client)
    session = Session.objects.get()
    assert session.last_seen_at > used
    assert session.expire_date == began + ABSOLUTE_LIMIT
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not is_in(client)


def test_the_browser_keeps_the_cookie_as_long_as_a_session_can_live(person: User) -> None:
    client = Client()
    sign_in(client, person.email)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["max-age"] == ABSOLUTE_LIMIT.total_seconds()
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_signing_in_sweeps_out_sessions_that_have_ended(person: User) -> None:
    sign_in(Client(), person.email)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    sign_in(Client(), person.email)
    assert Session.objects.count() == 1


def test_saving_a_session_does_not_make_it_younger(person: User) -> None:
    client = Client()
    sign_in(client, person.email)
    began = timezone.now() - timedelta(days=3)
    Session.objects.update(created_at=began)
    session = client.session
    session["x"] = 1
    session.save()
    assert Session.objects.get().created_at == began
    assert Session.objects.get().user == person


def _age_session(by: timedelta) -> None:
    session = Session.objects.get()
    now = timezone.now()
    session.last_seen_at = now - by
    session.expire_date = session.last_seen_at + idle_limit()
    session.save()
