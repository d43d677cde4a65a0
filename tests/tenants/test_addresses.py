"""Where a request comes from, and that nobody can invent it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from tenants.addresses import client_address, neighbourhood

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "expected"),
    [
        ("192.0.2.1", "", (), "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", (), "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", PROXIES, "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", PROXIES, "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, rubbish, 10.0.0.2", PROXIES, "10.0.0.2"),
        ("10.0.0.1", "", PROXIES, "10.0.0.1"),
        ("fd00::1", "2001:db8::5", PROXIES, "2001:db8::5"),
        ("::ffff:192.0.2.1", "", (), "192.0.2.1"),
        ("", "198.51.100.1", PROXIES, None),
        ("unix:", "", (), None),
    ],
)
def test_only_trusted_proxies_are_believed(
    settings: Any, remote: str, forwarded: str, proxies: Any, expected: str | None
) -> None:
    settings.TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == expected


@given(st.text(max_size=50))
def test_no_header_without_a_trusted_proxy_changes_the_answer(header: str) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=header)
    assert client_address(request) == "192.0.2.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, "unknown"),
    ],
)
def test_a_household_counts_as_one(address: str | None, expected: str) -> None:
    assert neighbourhood(address) == expected
