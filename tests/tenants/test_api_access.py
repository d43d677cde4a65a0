"""Who may call what, by token and by session, and how the API says no."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants import lifecycle, tokens
from tenants.deletion import request_deletion
from tenants.models import ApiToken, Membership, Role, Scope, Tenant
from tenants.scoping import tenant_scope
from tenants.tokens import revoke_token
from tests.tenants.factories import make_member, make_person, make_tenant, make_token, signed_in_as

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.tenants.api_urls")]

THING = "/api/things/a"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(location_id="loc/1")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return the problem document, after checking that it is one."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    assert body["title"]
    return body


# --- tokens -------------------------------------------------------------------------------------

ALLOWED = {
    "ingest": {"POST"},
    "read": {"GET", "HEAD"},
    "write": {"GET", "HEAD", "PUT", "DELETE"},
}


@pytest.mark.parametrize("scope", ALLOWED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_a_token_may_what_its_scope_says(tenant: Tenant, scope: str, method: str) -> None:
    _, secret = make_token(tenant, Scope(scope))
    response = Client().generic(method, THING, headers=bearer(secret))
    if method in ALLOWED[scope]:
        assert response.status_code == 200
    else:
        assert response.status_code == 403
        assert "insufficient_scope" in response["WWW-Authenticate"]


@pytest.mark.parametrize("scope", Scope)
def test_any_valid_token_may_call_what_needs_no_scope(tenant: Tenant, scope: Scope) -> None:
    token, secret = make_token(tenant, scope)
    response = Client().get("/api/anybody", headers=bearer(secret))
    assert response.json() == {"tenant": tenant.slug, "actor": f"token {token.prefix}"}


def test_a_token_may_come_as_x_api_key(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    assert Client().get(THING, headers={"X-API-Key": secret}).status_code == 200


def test_a_call_without_token_is_told_how_to_send_one() -> None:
    response = Client().get(THING)
    assert "Bearer" in problem(response, 401)["detail"]
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_token_is_refused_once_it_has_expired(tenant: Tenant) -> None:
    token, secret = make_token(tenant, expires_in_days=1)
    assert Client().get(THING, headers=bearer(secret)).status_code == 200
    with tenant_scope(tenant):
        ApiToken.objects.filter(pk=token.pk).update(
            expires_at=timezone.now() + timedelta(seconds=0.2)
        )
    tokens.forget_cached_tokens()
    assert Client().get(THING, headers=bearer(secret)).status_code == 200
    time.sleep(0.25)
    response = Client().get(THING, headers=bearer(secret))
    problem(response, 401)
    assert "invalid_token" in response["WWW-Authenticate"]


def test_a_revoked_token_is_refused_at_once(tenant: Tenant) -> None:
    token, secret = make_token(tenant)
    assert Client().get(THING, headers=bearer(secret)).status_code == 200
    revoke_token(token)
    problem(Client().get(THING, headers=bearer(secret)), 401)


def test_a_token_revoked_in_another_process_is_refused_within_a_second(tenant: Tenant) -> None:
    token, secret = make_token(tenant)
    assert Client().get(THING, headers=bearer(secret)).status_code == 200
    with tenant_scope(tenant):
        ApiToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())
    time.sleep(1)
    problem(Client().get(THING, headers=bearer(secret)), 401)


def test_a_known_token_costs_no_query_for_a_moment(
    tenant: Tenant, django_assert_num_queries: Any
) -> None:
    _, secret = make_token(tenant)
    Client().get(THING, headers=bearer(secret))
    with django_assert_num_queries(0):
        Client().get(THING, headers=bearer(secret))


def test_a_suspended_tenants_token_answers_403_until_it_is_resumed(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    lifecycle.suspend(tenant)
    tokens.forget_cached_tokens()
    body = problem(Client().get(THING, headers=bearer(secret)), 403)
    assert body["type"].endswith("/tenant-suspended")
    lifecycle.resume(tenant)
    tokens.forget_cached_tokens()
    assert Client().get(THING, headers=bearer(secret)).status_code == 200


def test_the_token_of_a_tenant_being_deleted_is_unknown(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    request_deletion(tenant)
    tokens.forget_cached_tokens()
    problem(Client().get(THING, headers=bearer(secret)), 401)


def test_a_token_notes_its_use_at_most_once_a_minute(tenant: Tenant) -> None:
    token, secret = make_token(tenant)
    Client().get(THING, headers=bearer(secret))
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    tokens.forget_cached_tokens()
    Client().get(THING, headers=bearer(secret))
    token.refresh_from_db()
    assert token.last_used_at == first
    earlier = first - timedelta(seconds=61)
    with tenant_scope(tenant):
        ApiToken.objects.update(last_used_at=earlier)
    tokens.forget_cached_tokens()
    Client().get(THING, headers=bearer(secret))
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert token.last_used_at > earlier


def test_a_token_belongs_to_one_tenant(tenant: Tenant) -> None:
    other = make_tenant()
    _, secret = make_token(tenant)
    for name in (tenant.slug, "loc/1"):
        assert Client().get(THING, {"tenant": name}, headers=bearer(secret)).status_code == 200
    problem(Client().get(THING, {"tenant": other.slug}, headers=bearer(secret)), 404)


def test_the_secret_is_long_shown_once_and_stored_as_a_digest(tenant: Tenant) -> None:
    token, secret = make_token(tenant)
    assert secret.startswith(f"fw_{token.prefix}_")
    assert len(secret.split("_")[2]) >= 22  # 128 bits of 62 characters
    stored = " ".join(str(value) for value in vars(token).values())
    assert secret not in stored
    assert secret.split("_")[2] not in stored


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=200))
def test_whatever_stands_in_the_header_the_answer_is_401(tenant: Tenant, text: str) -> None:
    for header in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY"):
        for value in (text, f"Bearer {text}", f"Bearer fw_{text}"):
            problem(Client().get(THING, **{header: value}), 401)  # type: ignore[arg-type]


def test_a_secret_that_differs_anywhere_is_unknown(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    for changed in (secret[:-1], secret + "x", secret.swapcase(), secret[3:], secret * 2):
        problem(Client().get(THING, headers=bearer(changed)), 401)


# --- sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "needed"),
    [("GET", Role.VIEWER), ("POST", Role.ADMIN), ("PUT", Role.OPERATOR), ("DELETE", Role.ADMIN)],
)
@pytest.mark.parametrize("role", Role)
def test_a_person_may_what_the_role_says(
    tenant: Tenant, role: Role, method: str, needed: Role
) -> None:
    client = signed_in_as(make_member(tenant, role))
    response = client.generic(method, THING)
    if role.at_least(needed):
        assert response.status_code == 200
    else:
        assert problem(response, 403)["type"].endswith("/role-missing")


def test_a_person_in_several_tenants_says_which(tenant: Tenant) -> None:
    other, foreign = make_tenant(), make_tenant()
    user = make_member(tenant)
    Membership.objects.create(tenant=other, user=user, role=Role.VIEWER)
    client = signed_in_as(user)
    problem(client.get(THING), 400)
    assert client.get(THING, {"tenant": other.slug}).json()["tenant"] == other.slug
    assert client.get(THING, {"tenant": "loc/1"}).json()["tenant"] == tenant.slug
    foreign_answer = client.get(THING, {"tenant": foreign.slug})
    unknown_answer = client.get(THING, {"tenant": "no-such"})
    assert problem(foreign_answer, 404) == problem(unknown_answer, 404)


def test_a_slug_wins_over_another_tenants_location(tenant: Tenant) -> None:
    named_by_slug = make_tenant(slug="twin")
    named_by_location = make_tenant(location_id="twin")
    user = make_member(named_by_location)
    Membership.objects.create(tenant=named_by_slug, user=user, role=Role.VIEWER)
    assert signed_in_as(user).get(THING, {"tenant": "twin"}).json()["tenant"] == "twin"


def test_a_person_without_tenant_finds_nothing() -> None:
    problem(signed_in_as(make_person()).get(THING), 404)


def test_a_member_of_a_suspended_tenant_is_refused(tenant: Tenant) -> None:
    client = signed_in_as(make_member(tenant, Role.OWNER))
    lifecycle.suspend(tenant)
    problem(client.get(THING), 403)


def test_a_person_who_was_switched_off_is_nobody(tenant: Tenant) -> None:
    user = make_member(tenant)
    client = signed_in_as(user)
    user.is_active = False
    user.save()
    problem(client.get(THING), 401)


def test_an_unsafe_call_by_session_needs_the_csrf_token(tenant: Tenant) -> None:
    client = signed_in_as(make_member(tenant, Role.OWNER), enforce_csrf_checks=True)
    assert problem(client.post(THING), 403)["type"].endswith("/csrf")
    assert client.get(THING).status_code == 200
    client.get("/account/")
    value = client.cookies[_csrf_cookie()].value
    assert client.post(THING, headers={"X-CSRFToken": value}).status_code == 200


def test_a_call_by_token_needs_no_csrf_token(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    client = Client(enforce_csrf_checks=True)
    assert client.post(THING, headers=bearer(secret)).status_code == 200


def test_a_token_counts_more_than_the_session_beside_it(tenant: Tenant) -> None:
    _, secret = make_token(tenant, Scope.READ)
    client = signed_in_as(make_member(make_tenant(), Role.OWNER))
    assert client.get(THING, headers=bearer(secret)).json()["tenant"] == tenant.slug
    problem(client.get(THING, headers=bearer("fw_wrong")), 401)


def _csrf_cookie() -> str:
    from django.conf import settings as configured

    return str(configured.CSRF_COOKIE_NAME)


# --- methods and errors -------------------------------------------------------------------------


def test_an_unknown_method_is_told_the_known_ones(tenant: Tenant) -> None:
    response = Client().patch(THING)
    problem(response, 405)
    assert response["Allow"] == "GET, POST, PUT, DELETE, HEAD, OPTIONS"


def test_options_lists_the_methods_to_anybody() -> None:
    response = Client().options(THING)
    assert response.status_code == 204
    assert "DELETE" in response["Allow"]


def test_head_has_the_headers_of_get_and_no_body(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    for address in (THING, "/api/stream"):
        head = Client().head(address, headers=bearer(secret))
        get = Client().get(address, headers=bearer(secret))
        assert (head.status_code, head["Content-Type"]) == (200, get["Content-Type"])
        assert b"".join(head) == b""
    assert Client().head(THING, headers=bearer(secret))["Content-Length"] != "0"


def test_a_problem_of_the_view_keeps_its_members(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    body = problem(Client().get("/api/broken/problem", headers=bearer(secret)), 409)
    assert body["candidates"] == [{"id": 1}]
    problem(Client().get("/api/broken/missing", headers=bearer(secret)), 404)


def test_a_fault_of_ours_is_logged_and_told_without_details(
    tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = make_token(tenant)
    with caplog.at_level(logging.ERROR):
        response = Client().get("/api/broken/anyhow", headers=bearer(secret))
    problem(response, 500)
    assert b"secret detail" not in response.content
    assert "a secret detail" in caplog.text


def test_without_database_the_call_may_be_repeated(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    response = Client().get("/api/broken/database", headers=bearer(secret))
    problem(response, 503)
    assert int(response["Retry-After"]) > 0
    assert b"10.0.0.5" not in response.content


def test_a_form_too_large_for_django_is_413(tenant: Tenant, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    _, secret = make_token(tenant)
    response = Client().post(
        "/api/broken/body", b"x" * 100, content_type="text/plain", headers=bearer(secret)
    )
    problem(response, 413)


def test_a_stream_sees_its_tenant_only(tenant: Tenant) -> None:
    make_token(make_tenant())
    _, secret = make_token(tenant)
    response = Client().get("/api/stream", headers=bearer(secret))
    assert response.getvalue() == b"1\n"


def test_answers_are_not_cached(tenant: Tenant) -> None:
    _, secret = make_token(tenant)
    assert Client().get(THING, headers=bearer(secret))["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_no_endpoint_matches_is_a_problem_too(method: str) -> None:
    problem(Client(enforce_csrf_checks=True).generic(method, "/api/no/such"), 404)
