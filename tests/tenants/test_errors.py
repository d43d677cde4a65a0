"""What is answered where no view answers."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections
from django.test import Client, RequestFactory

from tenants import errors
from tests.tenants.factories import make_person, signed_in_as

MACHINE_PATHS = ["/api/no/such", "/v1/no/such"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_a_machine_gets_a_problem(path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_a_person_gets_a_page(client: Client) -> None:
    for browser in (client, signed_in_as(make_person())):
        response = browser.get("/no/such")
        assert response.status_code == 404
        assert response["Content-Type"].startswith("text/html")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/admin/", "/admin/tenants/user/", "/status/"])
def test_while_the_database_is_away_pages_say_that_it_passes(path: str) -> None:
    browser = signed_in_as(make_person(is_staff=True, is_superuser=True))
    browser.raise_request_exception = False
    refused = OperationalError("connection refused")
    with mock.patch.object(connections["default"], "cursor", side_effect=refused):
        response = browser.get(path)
    assert response.status_code == 503
    assert response["Retry-After"] == "2"
    assert "back" in response.text


@pytest.mark.parametrize("path", ["/t/acme/", *MACHINE_PATHS])
def test_the_page_for_our_faults_asks_the_database_nothing(path: str, rf: RequestFactory) -> None:
    # Without django_db any query fails this test; a request whose person is looked up does too.
    request: Any = rf.get(path)
    request.user = property(lambda _self: pytest.fail("the person was asked for"))
    response = errors.broken(request)
    assert response.status_code == 500
    is_page = response["Content-Type"].startswith("text/html")
    assert is_page == (path not in MACHINE_PATHS)
