"""Every variable is checked at the start, and what is wrong is said with the way to mend it."""

import ipaddress
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from config import checks
from config.environment import Environment
from config.home import SOURCE_ROOT


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Environment:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Environment.read()


def test_nothing_has_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "SECRET_KEY", "FRONTEND_URL"):
        monkeypatch.delenv(name, raising=False)
    env = Environment.read()
    assert env.frontend_url == "http://localhost:8000"
    assert env.bind_address == "127.0.0.1"
    assert "localhost" in env.allowed_hosts


def test_values_are_read_as_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    env = read(
        monkeypatch,
        PORT="9123",
        FRONTEND_URL="https://flow.example.com/",
        OUTBOUND_ALLOWED_NETWORKS="127.0.0.0/8, 10.0.0.0/24",
    )
    assert env.port == 9123
    assert env.frontend_url == "https://flow.example.com"
    assert env.allowed_hosts[0] == "flow.example.com"
    assert env.outbound_allowed_networks[1] == ipaddress.ip_network("10.0.0.0/24")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("FRONTEND_URL", "flow.example.com"),
        ("FRONTEND_URL", "https://example.com/flow"),
        ("OUTBOUND_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "proxy"),
        ("WEB_THREADS", "0"),
        ("INGEST_WRITER", "magic"),
        ("SMTP_PORT", "smtp"),
        ("DEBUG", "perhaps"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=name):
        read(monkeypatch, **{name: value})


@pytest.mark.parametrize("document", [".env.example", "README.md"])
def test_every_variable_is_documented(document: str) -> None:
    source = Path(SOURCE_ROOT / "config" / "environment.py").read_text()
    names = set(re.findall(r'"([A-Z][A-Z_]+)"', source)) | {
        "FLOWWATCH_DATA",
        "FLOWWATCH_POSTGRES_BIN",
    }
    text = (SOURCE_ROOT / document).read_text()
    assert sorted(name for name in names if name not in text) == []


@override_settings(SECRET_KEY="short")
def test_a_short_secret_key_is_an_error() -> None:
    assert [found.id for found in checks.check_secret_key()] == ["flowwatch.E001"]


@override_settings(FRONTEND_URL="https://flow.example.com", ALLOWED_HOSTS=["other.example.com"])
def test_an_address_that_would_not_be_let_in_is_an_error() -> None:
    (found,) = checks.check_address()
    assert "flow.example.com" in str(found.hint)


@override_settings(MIGRATION_DATABASE=None)
def test_one_role_for_everything_is_a_warning() -> None:
    assert [found.id for found in checks.check_roles()] == ["flowwatch.W001"]


@override_settings(SLOW_BODY_IDLE_SECONDS=60.0)
def test_a_pause_longer_than_the_whole_is_an_error() -> None:
    assert [found.id for found in checks.check_deadlines()] == ["flowwatch.E003"]
