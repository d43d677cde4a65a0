"""Which errors are alike, and of which class."""

from __future__ import annotations

import pytest

from monitoring.recording.classify import classify
from monitoring.recording.fingerprint import fingerprint, mask
from monitoring.words import ErrorClass, Severity, severity_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order 18271 has no email address", "Order 95137 has no email address"),
        ("GET https://a.example/x?id=1 failed", "GET https://b.example/y failed"),
        ("User 'ada' not found", "User 'grace' not found"),
        ("at 2026-11-20T09:12:04Z", "at 2026-11-21 10:00:00"),
        (
            "id 550e8400-e29b-41d4-a716-446655440000 gone",
            "id 123e4567-e89b-12d3-a456-426614174000 gone",
        ),
        ("connect ECONNREFUSED 10.0.3.17:5432", "connect ECONNREFUSED 192.168.1.4:5432"),
        ("cannot open /var/lib/a/b.txt", "cannot open /srv/data/c.csv"),
        ("mail to ada@example.com bounced", "mail to bob@example.org bounced"),
    ],
)
def test_what_varies_is_masked(one: str, other: str) -> None:
    assert fingerprint(mask(one)) == fingerprint(mask(other))


def test_different_errors_stay_different() -> None:
    texts = [
        "Connection timed out",
        "Card declined",
        "No price for SKU",
        "Workflow does not exist.",
    ]
    assert len({fingerprint(mask(text)) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Your card was declined.", ErrorClass.PAYMENT),
        ("payment failed: insufficient funds", ErrorClass.PAYMENT),
        ("429 - Too Many Requests", ErrorClass.RATE_LIMIT),
        ("401 Unauthorized", ErrorClass.AUTH),
        ("API key invalid", ErrorClass.AUTH),
        ("Forbidden - perhaps check your credentials?", ErrorClass.AUTH),
        ("Connection timed out after 30000 ms", ErrorClass.TIMEOUT),
        ("connect ECONNREFUSED 127.0.0.1:80", ErrorClass.CONNECTION),
        ("502 Bad Gateway", ErrorClass.CONNECTION),
        ("The resource you are requesting could not be found", ErrorClass.NOT_FOUND),
        ("JavaScript heap out of memory", ErrorClass.RESOURCE),
        ("Order 7 has no email address", ErrorClass.VALIDATION),
        ("TypeError: Cannot read properties of undefined", ErrorClass.CODE),
        ("something odd", ErrorClass.UNKNOWN),
        ("", ErrorClass.UNKNOWN),
    ],
)
def test_messages_have_a_class(message: str, expected: ErrorClass) -> None:
    assert classify(message) is expected


def test_severity_follows_from_the_class() -> None:
    assert severity_of(ErrorClass.PAYMENT) is severity_of(ErrorClass.AUTH) is Severity.CRITICAL
    assert severity_of(ErrorClass.TIMEOUT) is Severity.INFO
    assert severity_of(ErrorClass.CONNECTION) is Severity.WARNING
