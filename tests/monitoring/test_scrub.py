"""Secrets become marks before anything is stored; what is no secret stays readable."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.recording import scrub

_MARK = "[scrubbed:"


@pytest.mark.parametrize(
    "key",
    ["password", "Password", "db_password", "apiKey", "api_key", "X-Api-Key", "authorization", "accessToken",
     "client_secret",
     "cookie", "Set-Cookie", "private_key", "token", "sessionId", "cvv", "cardNumber", "secrets",
     "secretKey", "signingKey", "APIToken", "authHeader", "pass", "password2", "userPassword1", "token_value",
     "otp", "totp_code", "private_key_id", "x" * 300 + "_password"],
)  # fmt: skip
def test_secret_keys_hide_their_values(key: str) -> None:
    clean = scrub.scrub({key: "whatever"}, depth=8)
    assert clean[key].startswith(_MARK)


@pytest.mark.parametrize(
    "key", ["author", "authenticated_at_page", "token_count", "max_tokens", "total_tokens",
     "tokenizer", "keys", "passenger", "secretary"],
)  # fmt: skip
def test_harmless_keys_keep_their_values(key: str) -> None:
    assert scrub.scrub({key: "visible text"}, depth=8) == {key: "visible text"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("aws-key", "key AKIAIOSFODNN7EXAMPLE used"),
        ("github-token", "ghp_" + "a1B2" * 9),
        ("slack-token", "xoxb-123456789012-abcdefghijkl"),
        ("stripe-key", "sk_live_" + "a" * 24),
        ("google-key", "AIza" + "b" * 35),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc_def-123"),
        ("bearer", "Authorization: Bearer abcdefghijklmnop"),
        ("url-password", "postgres://admin:hunter22@db.example.com/x"),
        ("assignment", "login failed for password=hunter2222 at db"),
        ("assignment", 'sent {"password": "hunter2222"} and failed'),
        ("assignment", "sent {'password': 'hunter2222'} and failed"),
        ("assignment", 'body {\\"password\\":\\"hunter2222\\"}'),
        ("assignment", "DB_PASSWORD=hunter2222 not set"),
        ("assignment", "AWS_SECRET_ACCESS_KEY=hunter2222"),
        ("assignment", "refresh_token=hunter2222&x=1"),
        ("header", "Cookie: sessionid=hunter2222"),
        ("header", "Authorization: hunter2222hunter"),
        ("card", "card 4111 1111 1111 1111 declined"),
        ("private-key", "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"),
    ],
)
def test_secret_shapes_in_any_text_become_typed_marks(kind: str, text: str) -> None:
    clean = scrub.scrub_text(text)
    assert f"{_MARK}{kind}:" in clean
    assert scrub.suspect(json.dumps({"x": text}).encode(), depth=100).values


@pytest.mark.parametrize(
    "text", ["Order 18271 has no email address", "4111111111111112 is no card (check digit)",
     "see https://example.com/a:b", "short"],
)  # fmt: skip
def test_plain_text_stays(text: str) -> None:
    assert scrub.scrub_text(text) == text


def test_equal_secrets_get_equal_marks_and_others_differ() -> None:
    one, same, other = (
        scrub.scrub({"password": p}, depth=4)["password"]
        for p in ("a-secret", "a-secret", "b-secret")
    )
    assert one == same != other


def test_everything_below_a_secret_key_is_hidden() -> None:
    clean = scrub.scrub(
        {"credentials": {"user": "ada", "deep": [{"pin": 1234}], "on": True, "none": None}}, depth=8
    )
    assert "ada" not in json.dumps(clean)
    assert "1234" not in json.dumps(clean)
    assert clean["credentials"]["on"] is True


def test_scrubbing_twice_changes_nothing_more() -> None:
    once = scrub.scrub({"token": "abcdefgh", "text": "Bearer abcdefghijklmnop"}, depth=4)
    assert scrub.scrub(once, depth=4) == once


def test_too_deep_is_said() -> None:
    value: object = "x"
    for _ in range(70):
        value = [value]
    with pytest.raises(scrub.TooDeep):
        scrub.scrub(value, depth=64)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=20,
)


_telling = st.sampled_from(
    [
        "password",
        "api--key",
        "apiKey",
        "X-Auth",
        "cardNumber",
        "Session Id",
        "author",
        "name",
        "PIN",
    ]
)
_texts = st.sampled_from(
    [
        "Bearer\tabcdefghijklmnop",
        "https://a:b@c.example",
        "AKIAIOSFODNN7EXAMPLE",
        "plain",
        "token=abcdefgh",
    ]
)


@given(
    st.dictionaries(_telling | st.text(max_size=9), _texts | st.text(max_size=30), max_size=4),
    st.booleans(),
)
def test_what_one_look_rules_out_is_not_there(value: dict[str, str], as_ascii: bool) -> None:
    """Bodies that are not suspect are stored without a walk: nothing secret may be in them."""
    body = (
        json.dumps(value, ensure_ascii=as_ascii)
        .replace("/", "\\/")
        .encode("utf-8", "surrogatepass")
    )
    found = scrub.suspect(body, depth=100)
    if not found.anything:
        assert not any(scrub.is_secret_key(key) for key in value)
    if not found.values:
        assert all(scrub.scrub_text(text) == text for text in (*value, *value.values()))


@given(_json)
def test_any_value_keeps_its_shape(value: Any) -> None:
    clean = scrub.scrub(value, depth=64)
    assert type(clean) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in clean] == [type(item) for item in value]


@pytest.mark.parametrize(
    "unit", ["a:", "//x:", "eyJ", "password=", "4111 ", "-----BEGIN ", "https://a:", " Bearer "]
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """The bound is loose: a quadratic pattern would take minutes."""
    text = unit * (1_000_000 // len(unit))
    begun = time.perf_counter()
    scrub.scrub_text(text)
    assert time.perf_counter() - begun < 20
