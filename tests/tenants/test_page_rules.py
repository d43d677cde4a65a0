"""Rules that hold for all pages of this app, from the URL resolver: a new page can't forget them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from tenants import urls
from tenants.models import Role, Tenant
from tests.tenants.factories import make_member, make_tenant, make_token, signed_in_as

pytestmark = pytest.mark.django_db

OPEN = {"sign-in", "sign-out", "password-reset", "password-reset-sent", "password-set"}
"""Pages for everybody; all others are for signed-in people, or members of the tenant."""

PATTERNS = {str(pattern.name): pattern for pattern in urls.urlpatterns}


def address_of(pattern: URLPattern, **values: Any) -> str:
    """Fill the pattern's parts with `values`, else with 1."""
    return "/" + re.sub(
        r"<\w+:(\w+)>", lambda part: str(values.get(part.group(1), 1)), str(pattern.pattern)
    )


@pytest.mark.parametrize("name", PATTERNS)
def test_a_page_under_a_tenant_says_which_role_it_needs(name: str) -> None:
    pattern = PATTERNS[name]
    is_of_tenant = "<slug:slug>" in str(pattern.pattern)
    assert is_of_tenant == isinstance(getattr(pattern.callback, "needs_role", None), Role)


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - OPEN))
def test_nobody_gets_further_than_sign_in(name: str) -> None:
    make_tenant(slug="acme")
    address = address_of(PATTERNS[name], slug="acme")
    for response in (Client().get(address), Client().post(address)):
        assert response.status_code == 302
        assert response["Location"].startswith("/sign-in/?next=")


@pytest.mark.parametrize("name", PATTERNS)
def test_no_page_accepts_a_form_from_another_site(name: str) -> None:
    client = signed_in_as(
        make_member(make_tenant(slug="acme"), Role.OWNER), enforce_csrf_checks=True
    )
    response = client.post(address_of(PATTERNS[name], slug="acme"))
    assert response.status_code in (403, 405)


@pytest.mark.parametrize(
    "name", [name for name in PATTERNS if "<slug" in str(PATTERNS[name].pattern)]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_role_below_the_needed_one_is_refused(name: str, method: str) -> None:
    tenant = make_tenant(slug="acme")
    needed: Role = getattr(PATTERNS[name].callback, "needs_role")  # noqa: B009
    for role in Role:
        if not role.at_least(needed):
            client = signed_in_as(make_member(tenant, role))
            response = getattr(client, method)(address_of(PATTERNS[name], slug="acme"))
            assert response.status_code == 403


@pytest.mark.parametrize("name", PATTERNS)
def test_no_page_breaks_on_methods_that_it_does_not_know(name: str) -> None:
    client = signed_in_as(make_member(make_tenant(slug="acme"), Role.OWNER))
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW"):
        response = client.generic(method, address_of(PATTERNS[name], slug="acme"))
        assert response.status_code in (404, 405)


LISTS = [
    "/t/acme/settings/tokens/",
    "/t/acme/settings/members/",
    "/t/acme/settings/audit/",
    "/account/",
]


@pytest.mark.parametrize("address", LISTS)
def test_a_list_asks_no_more_for_more_rows(address: str) -> None:
    tenant = make_tenant(slug="acme")
    owner = make_member(tenant, Role.OWNER)

    def rows_and_queries() -> tuple[int, int]:
        client = signed_in_as(owner)
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            page = client.get(address).content.decode()
        return page.count("<tr"), len(queries)

    _fill(tenant)
    few = rows_and_queries()
    for _ in range(10):
        _fill(tenant)
        signed_in_as(owner)
    many = rows_and_queries()
    assert many[0] > few[0]
    assert many[1] == few[1] <= 8


def _fill(tenant: Tenant) -> None:
    """Add a row to every list."""
    make_member(tenant)
    make_token(tenant, created_by=make_member(tenant))
