"""Calls with a token take a short way: the same answers, at the same addresses."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import resolve

from monitoring.api.endpoints import OPERATIONS
from monitoring.api.shortcut import TokenCalls
from tenants.api_access import unknown_api_path
from tenants.models import Membership, Role, Tenant, User
from tests.monitoring.api.conftest import Api

PATHS = sorted({each.path for each in OPERATIONS})
IDS = ["w", "a/b", "executions", "a/executions", "stats/overview", "x\ny", "a/logs/logs", "a/retry"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", IDS)
def test_it_finds_what_the_addresses_find(path: str, text: str) -> None:
    address = re.sub(r"\{\w+\}", lambda _: text, path)
    expected = resolve(address)
    found, ids = TokenCalls(lambda _: HttpResponse())._find(address)
    if expected.func is unknown_api_path:
        assert found is None
    else:
        assert (found, ids) == (expected.func, expected.kwargs)


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/nothing", "/t/acme/", "/v1/traces"])
def test_other_addresses_take_the_usual_way(path: str) -> None:
    usual = HttpResponse("usual")
    request = RequestFactory().get(path, headers={"Authorization": "Bearer x"})
    assert TokenCalls(lambda _: usual)(request) is usual


@pytest.mark.django_db
def test_answers_tell_browsers_to_be_careful(api: Api) -> None:
    for path in ("/api/limits", "/api/executions/none"):
        answer = api.send("GET", path)
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert answer["Cache-Control"] == "no-store"
        assert int(answer["Content-Length"]) == len(answer.content)


@pytest.mark.django_db
def test_a_session_gets_the_same(api: Api, tenant: Tenant) -> None:
    person = User.objects.create_user(email="a@example.com", password="right-horse-battery")
    Membership.objects.create(tenant=tenant, user=person, role=Role.VIEWER)
    api.post("/api/executions", {"id": "e1", "workflowId": "w", "status": "success"})
    client = Client()
    client.force_login(person)
    for path in ("/api/executions", "/api/executions/e1", "/api/workflows/w/metrics"):
        assert client.get(path).json() == api.get(path)


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused_as_on_pages(api: Api) -> None:
    answer = Client(SERVER_NAME="evil.example").get(
        "/api/limits", headers={"Authorization": "Bearer fw_any"}
    )
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("value", ["", " ", "Bearer", "Bearer ", "Basic eDp5"])
def test_a_header_without_a_token_is_nobody(header: str, value: str) -> None:
    assert Client().get("/api/limits", headers={header: value}).status_code == 401
