"""Secrets become marks before anything is stored; what is no secret stays readable."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from monitoring.recording.scrub import TooDeep, scrubber

_MARK = "[scrubbed:"
scrub = scrubber()


@pytest.mark.parametrize(
    "key",
    ["password", "Password", "db_password", "apiKey", "api_key", "X-Api-Key", "authorization", "accessToken",
     "client_secret",
     "cookie", "Set-Cookie", "private_key", "token", "sessionId", "cvv", "cardNumber", "secrets",
     "secretKey", "signingKey", "APIToken", "authHeader", "pass", "password2", "userPassword1", "token_value",
     "otp", "totp_code", "private_key_id", "sid", "SID", "connect.sid", "PHPSESSID", "JSESSIONID",
     "x" * 300 + "_password", "password_confirmation", "passwordConfirm", "password_repeat", "passWord",
     "pass_word", "secret_base64", "private_key_pem", "api_key_prod", "apiKeyLive", "cookieJar", "passphrase",
     "pin", "session_id"],
)  # fmt: skip
def test_secret_keys_hide_their_values(key: str) -> None:
    clean = scrub.scrub({key: "whatever"}, depth=8)
    assert clean[key].startswith(_MARK)


@pytest.mark.parametrize(
    "key", ["author", "authenticated_at_page", "token_count", "max_tokens", "total_tokens",
     "tokenizer", "keys", "passenger", "secretary", "side", "inside", "account_sid", "messageSid", "key",
     "residue"],
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
        ("url-password", "GET https://user:pass@host failed"),
        ("url-password", "https://user:p@ss@host/x"),
        ("url-token", "GET https://x8a7Sd6f5a7Q9dEf02@git.example.com/a.git failed"),
        ("url-token", "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9@errors.example.com/17"),
        ("key", "GET /v1/items?page=2&key=Ab3dE6gH9jK2mN5pQ8sT1 failed"),
        ("key", "KEY=Ab3dE6gH9jK2mN5pQ8sT1 npm start"),
        ("key", "MAPS_KEY='Ab3dE6gH9jK2mN5pQ8sT1'"),
        ("key", "/socket?sid=Zx9Yw8Vu7Ts6Rq5Po4Nm&t=1"),
        ("key", "no session for sid=0a1b2c3d4e5f60718293a4b5"),
        ("spoken", "the password is hunter2 for all"),
        ("spoken", "Password is: 'correct horse'"),
        ("spoken", "your API key is Ab3dE6gH9jK2."),
        ("spoken", "passphrase was Tr0ub4dor&3!"),
        ("card", "card 4111 1111 1111 1111 declined"),
        ("card", "card 4111111111111111 declined"),
        ("card", "2223-0031-2200-3222 was refused"),
        ("form", "passphrase=hunter2222&x=1"),
        ("form", "amount=3&pin=4821&cvv=123&x=1"),
        ("form", "user=a&cookie=hunter2222"),
        ("form", "otp=482113"),
        ("form", "https://x.blob.core.windows.net/a?sv=2022&sig=Ab3dE6gH9jK2%2Fm&se=1"),
        ("form", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2222=="),
        ("form", "https://b.s3.amazonaws.com/x?X-Amz-Signature=hunter2222"),
        ("field", 'sent {"authorization":"hunter2222 x"} and failed'),
        ("field", 'sent {"card_pin": "hunter2222"} and failed'),
        ("element", "<soap><password>hunter2222</password></soap>"),
        ("element", '<ns:Password Type="text">hunter2222</ns:Password>'),
        ("command", "run --password hunter2222 failed"),
        ("command", "--password hunter2222"),
        ("element", "<password>x</password>"),
        ("command", "mysql -u root -phunter2222 failed"),
        ("command", "curl -u bob:hunter2222 https://example.com"),
        ("webhook-url", "https://hooks.slack.com/services/T0A1/B0C2/hunter2222"),
        ("telegram-token", "https://api.telegram.org/bot123:hunter2222/sendMessage"),
        ("private-key", "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"),
    ],
)
def test_secret_shapes_in_any_text_become_typed_marks(kind: str, text: str) -> None:
    clean = scrub.scrub_text(text)
    assert f"{_MARK}{kind}:" in clean
    assert scrub.suspect(json.dumps({"x": text}).encode(), depth=100).values


@pytest.mark.parametrize(
    "text", ["Order 18271 has no email address", "4111111111111112 is no card (check digit)",
     "see https://example.com/a:b", "short",
     "the password is required", "Your password is too short", "password is case-sensitive.",
     "The secret is out: see page 12", "password was changed", "password is invalid!", "API key is missing",
     "ssh://git@github.com/a/b", "https://backup-2024@files.example.com", "mailto:ann@example.com",
     "https://example.com/@someone/12345678901234567890",
     "key=customer-2024-invoices-list-eu", "Duplicate key=3f2504e0-4f89-41d3-9a0c-0305e82c3301",
     "key=20261121103000123", "monkey=Ab3dE6gH9jK2mN5pQ8sT1", "sort_key=created_at_descending",
     "sid=SM0a1b2c3d4e5f60718293a4b5c6d7e8f9", "inside=0a1b2c3d4e5f60718293a4b5",
     "key=InvoiceSyncCustomerEurope",
     "token: expired", "password: required", "Cookie: not set by server", "token=undefined", "apiKey: null",
     "Authorization: missing", "secret: wrong.", '{"token": "expired"} was sent', "--password is required",
     "pin=", "footprint=none-at-all", "mysql -h db -P 3306", "curl https://example.com",
     "order_id=4111111111111111", "order #4111111111111111", "6999999999999991", "1234567890123452"],
)  # fmt: skip
def test_plain_text_stays(text: str) -> None:
    assert scrub.scrub_text(text) == text


@pytest.mark.parametrize(
    "value",
    [
        [{"name": "password", "value": "hunter2222"}],
        [{"key": "api_key", "value": "hunter2222"}],
        [{"Name": "Authorization", "Value": "hunter2222"}],
        [["Authorization", "hunter2222"], ["Accept", "text"]],
        ["texts", {"Accept": "text"}, ["password", "hunter2222"]],
        [["Accept", "text"], ["x-api-key", "hunter2222"]],
        '{"authorization":"hunter2222"}',
        '[{"name":"password","value":"hunter2222"}]',
        json.dumps({"body": json.dumps({"passwordConfirm": "hunter2222"})}),
    ],
)
def test_names_beside_values_and_json_in_texts_tell_secrets(value: Any) -> None:
    clean = json.dumps(scrub.scrub({"x": value}, depth=8))
    assert "hunter2222" not in clean
    assert _MARK in clean
    assert scrub.suspect(json.dumps({"x": value}).encode(), depth=100).anything


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ann", "value": 3},
        [["password", "token"], ["name", "secret"]],
        ["password", "email"],
        {"name": "password"},
        '{"author": "Ann",   "n": 1}',
        {"orderId": "4111111111111111", "order_number": "4111111111111111"},
        {"customer": 4111111111111111},
    ],
)
def test_what_only_resembles_stays(value: Any) -> None:
    assert scrub.scrub({"x": value}, depth=8) == {"x": value}


@pytest.mark.parametrize("key", ["card", "pan", "cc_number", "creditCard"])
def test_a_number_is_a_card_only_below_a_telling_key(key: str) -> None:
    message = {key: 4111111111111111}
    assert _MARK in scrub.scrub(message, depth=8)[key]
    assert scrub.suspect(json.dumps(message).encode(), depth=100).anything


def test_equal_secrets_get_equal_marks_and_others_differ() -> None:
    one, same, other = (
        scrub.scrub({"password": p}, depth=4)["password"]
        for p in ("a-secret", "a-secret", "b-secret")
    )
    assert one == same != other


def test_a_providers_id_under_sid_is_no_secret() -> None:
    message = {"sid": "SM0a1b2c3d4e5f60718293a4b5c6d7e8f9", "status": "sent"}
    assert scrub.scrub(message, depth=4) == message


def test_a_mark_names_one_kind_and_is_no_secret_itself() -> None:
    text = "https://user:pass@host ghp_" + "a1B2" * 9 + " pwd=hunter2222 https://s:s@host"
    clean = scrub.scrub_text(text)
    assert re.fullmatch(
        r"https://user:\[scrubbed:url-password:\w{4}\]@host \[scrubbed:github-token:\w{4}\] "
        r"pwd=\[scrubbed:assignment:\w{4}\] https://s:\[scrubbed:url-password:\w{4}\]@host",
        clean,
    )
    assert scrub.scrub_text(clean) == clean


_PROSE = """the order key is password for token session customer 2026 12 id step was secret a api https
    login failed invalid missing required changed expired of and workflow node Tuesday OK"""
_words = st.sampled_from(_PROSE.split())
_ids = st.one_of(
    st.uuids().map(str),
    st.integers(10**5, 10**11).map(str),
    st.from_regex(r"[A-Z]{2,4}-[0-9]{3,8}", fullmatch=True),
    st.from_regex(r"(?:ord|evt|inv)_[0-9]{4,10}", fullmatch=True),
    st.datetimes().map(lambda moment: moment.isoformat()),
)


@given(st.lists(_words | _ids, max_size=20))
def test_ordinary_prose_and_ids_stay(parts: list[str]) -> None:
    text = " ".join(parts)
    assume(not re.search(r"(?:password|secret|key) (?:is|was) \S*[\d#]", text))
    assume(not re.search(r"\b[3-6]([ -]?\d){12}", text))  # as a card's number may look
    assert scrub.scrub_text(text) == text


@given(st.sampled_from(["key", "id", "sort_key", "sid", "cache-key", "order"]), _ids)
def test_ids_after_an_equals_sign_stay(name: str, identity: str) -> None:
    text = f"https://example.com/x?{name}={identity}&page=2"
    assert scrub.scrub_text(text) == text


@pytest.mark.parametrize("length", [20, 32, 40])
def test_random_keys_in_addresses_do_not_stay(length: int) -> None:
    kept = 0
    chance = random.Random(17)
    for _ in range(500):
        raw = chance.randbytes(length)
        for secret in (raw.hex(), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
            kept += secret in scrub.scrub_text(f"GET /x?key={secret}&page=2")
    assert kept < 0.05 * 1_000  # some look like words and numbers


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
    with pytest.raises(TooDeep):
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
        "sid",
        "connect.sid",
        "PHPSESSID",
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
        "?key=Ab3dE6gH9jK2mN5pQ8sT1",
        "password is hunter2",
        "https://x8a7Sd6f5a7Q9dEf02@a.example",
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
    "unit",
    [
        "a:",
        "//x:",
        "eyJ",
        "password=",
        "4111 ",
        "-----BEGIN ",
        "https://a:",
        " Bearer ",
        "key=",
        "https://a",
        "@",
        "password is ",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """The bound is loose: a quadratic pattern would take minutes."""
    text = unit * (1_000_000 // len(unit))
    begun = time.perf_counter()
    scrub.scrub_text(text)
    assert time.perf_counter() - begun < 20
