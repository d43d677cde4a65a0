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


@pytest.mark.parametrize("path", ["/", "/health/ready", "/api/executions"])
def test_a_name_that_is_not_answered_is_told_with_what_lets_it_in(path: str) -> None:
    response = Client().get(path, headers={"host": "watch.example.com:8000"})
    assert response.status_code == 400
    assert "watch.example.com:8000" in response.text
    assert "ALLOWED_HOSTS" in response.text
    assert "understood" not in response.text


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer fw_no_token"}])
def test_a_call_of_the_api_under_another_name_is_told_the_same(headers: dict[str, str]) -> None:
    response = Client().get("/api/executions", headers={"host": "watch.example.com", **headers})
    assert response.status_code == 400
    assert "watch.example.com" in response.json()["detail"]
    assert "ALLOWED_HOSTS" in response.json()["detail"]


def test_what_a_host_holds_does_not_reach_the_page() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J" + "x" * 1_000
    page = Client().get("/", headers={"host": hostile}).text
    assert "ALLOWED_HOSTS" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "x" * 300 not in page
