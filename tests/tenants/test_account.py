"""A person's own page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tenants.models import Membership, Role, Session, User
from tests.tenants.factories import make_member, make_person, make_tenant, signed_in_as

pytestmark = pytest.mark.django_db

CHOICES = {"name": "Ann", "time_zone": "Europe/Berlin", "theme": "dark", "density": "compact"}


@pytest.fixture
def person() -> User:
    return make_person()


def test_choices_are_stored_and_counted_at_once(person: User) -> None:
    client = signed_in_as(person)
    assert client.post("/account/", CHOICES)["Location"] == "/account/"
    page = client.get("/account/").content.decode()
    assert 'data-theme="dark"' in page
    assert 'data-density="compact"' in page
    person.refresh_from_db()
    assert str(person.zone) == "Europe/Berlin"
    assert person.display_name == "Ann"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("theme", "pink"),
        ("density", ""),
        ("name", "x" * 256),
        ("name", "a\x00b"),
    ],
)
def test_a_wrong_choice_is_refused_at_its_field(person: User, field: str, value: str) -> None:
    client = signed_in_as(person)
    response = client.post("/account/", {**CHOICES, field: value})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    person.refresh_from_db()
    assert (person.name, person.theme) == ("", "system")


def test_nobody_can_give_themselves_more_rights_by_the_form(person: User) -> None:
    signed_in_as(person).post(
        "/account/", {**CHOICES, "is_staff": "1", "is_superuser": "1", "email": "x@example.com"}
    )
    person.refresh_from_db()
    assert not person.is_staff
    assert not person.is_superuser
    assert person.email != "x@example.com"


def test_the_theme_switch_stores_its_choice(person: User) -> None:
    client = signed_in_as(person)
    assert client.post("/account/theme/", {"theme": "light"}).status_code == 204
    person.refresh_from_db()
    assert person.theme == "light"
    assert client.post("/account/theme/", {"theme": "<b>"}).status_code == 400


def test_a_zone_that_left_the_database_falls_back_to_utc(person: User) -> None:
    User.objects.filter(pk=person.pk).update(time_zone="Gone/Zone")
    assert signed_in_as(person).get("/account/").status_code == 200
    person.refresh_from_db()
    assert str(person.zone) == "UTC"


# --- sessions -----------------------------------------------------------------------------------


def browsers(person: User, count: int) -> list[Client]:
    return [signed_in_as(person) for _ in range(count)]


def handles(page: Any) -> list[str]:
    return re.findall(r'name="session" value="([0-9a-f]+)"', page.content.decode())


def test_the_page_lists_sessions_without_their_keys(person: User) -> None:
    here, _ = browsers(person, 2)
    make_sessions_of_others = browsers(make_person(), 1)
    assert make_sessions_of_others
    page = here.get("/account/")
    assert len(handles(page)) == 1
    assert "This one" in page.content.decode()
    for key in Session.objects.values_list("session_key", flat=True):
        assert key not in page.content.decode()


def test_one_session_can_be_ended(person: User) -> None:
    here, there = browsers(person, 2)
    [handle] = handles(here.get("/account/"))
    answer = here.post("/account/sessions/end/", {"session": handle}, follow=True)
    assert "The session was ended." in answer.content.decode()
    assert there.get("/account/").status_code == 302
    assert here.get("/account/").status_code == 200


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (" europe/berlin ", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_a_time_zone_is_found_as_people_write_it(person: User, typed: str, stored: str) -> None:
    client = signed_in_as(person)
    assert client.post("/account/", CHOICES | {"time_zone": typed}).status_code == 302
    person.refresh_from_db()
    assert person.time_zone == stored


@pytest.mark.parametrize("typed", ["Atlantis", "", "Europe/", "\0", "../etc/passwd", "x" * 300])
def test_what_is_no_time_zone_is_said_at_the_field(person: User, typed: str) -> None:
    answer = signed_in_as(person).post("/account/", CHOICES | {"time_zone": typed})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'id="id_time_zone_error"' in page
    assert 'value="Ann"' in page, "nothing typed is lost"
    person.refresh_from_db()
    assert person.time_zone == "UTC"


def test_zones_are_offered_with_the_time_there(person: User) -> None:
    page = signed_in_as(person).get("/account/").content.decode()
    assert re.search(r'<option value="Asia/Kolkata">\d\d:\d\d, UTC\+5:30</option>', page)
    assert re.search(r"It is \d\d:\d\d there now", page)


def test_a_members_account_page_has_the_menu_of_their_tenant(person: User) -> None:
    assert 'aria-label="Tenant' not in signed_in_as(person).get("/account/").content.decode()
    member = make_member(make_tenant(name="Acme", slug="acme"))
    page = signed_in_as(member).get("/account/").content.decode()
    assert 'href="/t/acme/executions/"' in page
    assert "data-palette-open" in page


def test_of_several_tenants_the_one_seen_last_stands_in_the_menu(person: User) -> None:
    for slug in ("acme", "north"):
        tenant = make_tenant(name=slug.title(), slug=slug)
        Membership.objects.create(tenant=tenant, user=person, role=Role.VIEWER)
    client = signed_in_as(person)
    page = client.get("/account/").content.decode()
    assert "Choose a tenant" in page
    assert "/executions/" not in page
    client.get("/t/north/")
    page = client.get("/account/").content.decode()
    assert 'href="/t/north/executions/"' in page
    assert "Tenant: North. Switch" in page


def test_a_suspended_tenants_menu_is_not_offered_elsewhere(person: User) -> None:
    tenant = make_tenant(name="Acme", slug="acme", suspended_at=timezone.now())
    Membership.objects.create(tenant=tenant, user=person, role=Role.VIEWER)
    assert "/executions/" not in signed_in_as(person).get("/account/").content.decode()


def test_all_others_can_be_ended(person: User) -> None:
    here, *others = browsers(person, 4)
    here.post("/account/sessions/end/", {"all": "1"})
    assert {other.get("/account/").status_code for other in others} == {302}
    assert here.get("/account/").status_code == 200


def test_nobody_ends_another_persons_session(person: User) -> None:
    mine, _ = browsers(person, 2)
    theirs = browsers(make_person(), 2)
    [handle] = handles(theirs[0].get("/account/"))
    mine.post("/account/sessions/end/", {"session": handle})
    assert {client.get("/account/").status_code for client in theirs} == {200}


@pytest.mark.parametrize(
    "address", ["/account/", "/account/password/", "/account/theme/", "/account/sessions/end/"]
)
def test_the_page_is_for_signed_in_people(address: str) -> None:
    for response in (Client().get(address), Client().post(address)):
        assert response["Location"].startswith("/sign-in/?next=")
