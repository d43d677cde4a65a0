"""Answers to calls with a token carry the headers that keep browsers and connections safe."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.tenants.factories import make_tenant, make_token

pytestmark = pytest.mark.django_db

POLICY = "max-age=31536000; includeSubDomains"
BEHIND_TLS = {"X-Forwarded-Proto": "https"}


@pytest.fixture
def over_https(settings: Any) -> None:
    """As the settings are when FRONTEND_URL begins with https."""
    settings.SECURE_HSTS_SECONDS = 365 * 24 * 3600
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.fixture
def key() -> dict[str, str]:
    _, secret = make_token(make_tenant())
    return {"X-Api-Key": secret}


@pytest.mark.usefixtures("over_https")
@pytest.mark.parametrize("path", ["/api/executions", "/api/limits", "/api/v1/executions"])
@pytest.mark.parametrize("is_known", [True, False], ids=["token", "unknown token"])
def test_over_https_only_https_may_follow(path: str, is_known: bool, key: dict[str, str]) -> None:
    headers = BEHIND_TLS | (key if is_known else {"X-Api-Key": "fw_nobody_knows_it"})
    for answer in (Client().get(path, headers=headers), Client().post(path, headers=headers)):
        assert answer["Strict-Transport-Security"] == POLICY


@pytest.mark.usefixtures("over_https")
def test_pages_say_the_same() -> None:
    page = Client().get("/sign-in/", headers=BEHIND_TLS)
    assert page["Strict-Transport-Security"] == POLICY


@pytest.mark.usefixtures("over_https")
def test_over_http_browsers_are_not_told(key: dict[str, str]) -> None:
    """RFC 6797, 7.2: never over a connection that is not secure."""
    assert "Strict-Transport-Security" not in Client().get("/api/executions", headers=key)


def test_an_installation_without_https_demands_none(key: dict[str, str]) -> None:
    answer = Client().get("/api/executions", headers=BEHIND_TLS | key)
    assert "Strict-Transport-Security" not in answer
