"""The admin as a vendor's operator uses it."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client

from tenants.models import ApiToken, AuditEvent, Membership, Role, Tenant, User
from tenants.scoping import ScopeError, across_tenants
from tests.tenants.factories import (
    make_member,
    make_operator,
    make_person,
    make_tenant,
    make_token,
    signed_in_as,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return signed_in_as(make_operator(email="operator@example.com"))


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(slug="acme", name="Acme", location_id="loc-1")


def text_of(response: Any) -> str:
    return str(response.content.decode())


def act(client: Client, model: str, action: str, *objects: Model, **extra: str) -> Any:
    """Choose an action in a list."""
    return client.post(
        f"/admin/tenants/{model}/",
        {"action": action, "_selected_action": [str(obj.pk) for obj in objects], **extra},
    )


def actions_logged() -> list[str]:
    with across_tenants():
        return list(AuditEvent.objects.order_by("id").values_list("action", flat=True))


# --- who may look -------------------------------------------------------------------------------


def test_nobody_is_sent_to_the_one_sign_in_page() -> None:
    client = Client()
    first = client.get("/admin/tenants/tenant/")
    answer = client.get(first["Location"])
    assert answer["Location"] == "/sign-in/?next=%2Fadmin%2Ftenants%2Ftenant%2F"
    # The admin's own form is no way around the limits.
    data = {"username": "operator@example.com", "password": "x"}
    assert client.post("/admin/login/", data)["Location"].startswith("/sign-in/")


def test_an_owner_of_a_tenant_is_refused(tenant: Tenant) -> None:
    response = signed_in_as(make_member(tenant, Role.OWNER)).get("/admin/", follow=True)
    assert response.status_code == 403
    assert "Only operators" in text_of(response)


def test_staff_may_look_but_not_change(tenant: Tenant) -> None:
    client = signed_in_as(make_person(is_staff=True))
    assert "Acme" in text_of(client.get("/admin/tenants/tenant/"))
    assert client.get(f"/admin/tenants/tenant/{tenant.pk}/change/").status_code == 200
    assert client.get("/admin/tenants/tenant/add/").status_code == 403
    assert client.post(f"/admin/tenants/tenant/{tenant.pk}/change/", {}).status_code == 403
    assert client.get(f"/admin/tenants/tenant/{tenant.pk}/make-token/").status_code == 404
    act(client, "tenant", "suspend", tenant)
    act(client, "tenant", "delete_with_everything", tenant, confirmed="yes")
    tenant.refresh_from_db()
    assert not tenant.is_suspended
    assert not tenant.is_being_deleted


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model.__name__)
@pytest.mark.parametrize("query", ["", "?q=x", "?o=1", "?e=1", "?p=9999", "?q=%00"])
def test_every_list_opens_sorted_and_searched(
    operator: Client, tenant: Tenant, model: type[Model], query: str
) -> None:
    make_token(tenant)
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{query}"
    assert operator.get(address, follow=True).status_code == 200


def test_the_admin_leaves_no_scope_behind(operator: Client, tenant: Tenant) -> None:
    operator.get("/admin/tenants/tenant/")
    with pytest.raises(ScopeError):
        Membership.objects.count()


def test_signing_out_of_the_admin_is_signing_out(operator: Client) -> None:
    assert operator.post("/admin/logout/")["Location"] == "/sign-in/"
    assert operator.get("/account/").status_code == 302


def test_the_password_is_changed_on_the_one_page_for_it(operator: Client) -> None:
    assert operator.get("/admin/password_change/")["Location"] == "/account/password/"


# --- tenants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["acme", "Acme", "loc-1", "member@example.com"])
def test_a_tenant_is_found_by_name_slug_location_or_member(
    operator: Client, tenant: Tenant, wanted: str
) -> None:
    make_member(tenant, email="member@example.com")
    make_tenant(name="Other", slug="other")
    page = text_of(operator.get("/admin/tenants/tenant/", {"q": wanted}))
    assert "loc-1" in page
    assert ">Other<" not in page


def test_tenants_are_filtered_by_state(operator: Client, tenant: Tenant) -> None:
    other = make_tenant(name="Other", slug="other")
    act(operator, "tenant", "suspend", other)
    suspended = text_of(operator.get("/admin/tenants/tenant/", {"state": "suspended"}))
    assert ">Other<" in suspended
    assert ">Acme<" not in suspended
    assert ">Acme<" in text_of(operator.get("/admin/tenants/tenant/", {"state": "active"}))


def test_a_tenant_is_made_with_its_members(operator: Client) -> None:
    person = make_person()
    response = operator.post(
        "/admin/tenants/tenant/add/",
        {
            "name": "New",
            "slug": "new",
            "location_id": "",
            "retention_days": "30",
            "retention_minimum": "0",
            "memberships-TOTAL_FORMS": "1",
            "memberships-INITIAL_FORMS": "0",
            "memberships-0-user": str(person.pk),
            "memberships-0-role": "owner",
        },
    )
    assert response.status_code == 302, text_of(response)
    tenant = Tenant.objects.get()
    assert tenant.location_id is None
    assert (tenant.retention_days, tenant.retention_minimum) == (30, 0)
    with across_tenants():
        assert str(Membership.objects.get(tenant=tenant)) == f"{person.email}, owner"
    assert actions_logged() == ["admin.membership.add", "admin.tenant.add"]


def test_how_long_executions_are_kept_is_changed_where_it_is_asked_about(
    operator: Client, tenant: Tenant
) -> None:
    """The admin would save 9 days instead of 90 at once, and executions would go unasked."""
    address = f"/admin/tenants/tenant/{tenant.pk}/change/"
    page = text_of(operator.get(address))
    assert 'name="retention_days"' not in page
    assert 'name="retention_minimum"' not in page
    assert "Settings → Retention" in page
    form = {
        "name": "Acme Ltd",
        "slug": "acme",
        "location_id": "loc-1",
        "retention_days": "9",
        "retention_minimum": "0",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    assert operator.post(address, form).status_code == 302
    tenant.refresh_from_db()
    assert tenant.name == "Acme Ltd"
    assert (tenant.retention_days, tenant.retention_minimum) == (90, 100)


def test_suspending_and_resuming(operator: Client, tenant: Tenant) -> None:
    act(operator, "tenant", "suspend", tenant)
    tenant.refresh_from_db()
    assert tenant.is_suspended
    act(operator, "tenant", "resume", tenant)
    tenant.refresh_from_db()
    assert not tenant.is_suspended
    assert actions_logged() == ["tenant.suspend", "tenant.resume"]


def test_exporting_gives_a_zip(operator: Client, tenant: Tenant) -> None:
    response = act(operator, "tenant", "export", tenant)
    assert "acme-" in response["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert "acme/members.ndjson" in archive.namelist()
    assert actions_logged() == ["tenant.export"]


def test_deleting_asks_first_and_then_marks(operator: Client, tenant: Tenant) -> None:
    question = act(operator, "tenant", "delete_with_everything", tenant)
    assert "no way back" in text_of(question)
    tenant.refresh_from_db()
    assert not tenant.is_being_deleted
    act(operator, "tenant", "delete_with_everything", tenant, confirmed="yes")
    tenant.refresh_from_db()
    assert tenant.is_being_deleted
    assert actions_logged() == ["tenant.delete"]


def test_nothing_is_deleted_at_once(operator: Client, tenant: Tenant) -> None:
    assert operator.post(f"/admin/tenants/tenant/{tenant.pk}/delete/").status_code == 403
    act(operator, "tenant", "delete_selected", tenant, post="yes")
    assert Tenant.objects.count() == 1


# --- tokens -------------------------------------------------------------------------------------


def test_a_tokens_secret_is_shown_once_and_the_digest_never(
    operator: Client, tenant: Tenant
) -> None:
    address = f"/admin/tenants/tenant/{tenant.pk}/make-token/"
    assert address in text_of(operator.get(f"/admin/tenants/tenant/{tenant.pk}/change/"))
    page = operator.post(address, {"name": "n", "scopes": ["read"], "expires_in_days": ""})
    found = re.search(r"fw_\w{8}_\w{43}", text_of(page))
    assert found
    assert "no-store" in page["Cache-Control"]
    with across_tenants():
        token = ApiToken.objects.get()
    for shown in ("/admin/tenants/apitoken/", f"/admin/tenants/apitoken/{token.pk}/change/"):
        text = text_of(operator.get(shown))
        assert token.prefix in text
        assert found.group() not in text
        assert token.digest not in text
    assert actions_logged() == ["token.create"]


def test_tokens_can_be_revoked_but_neither_changed_nor_deleted(
    operator: Client, tenant: Tenant
) -> None:
    token, _ = make_token(tenant)
    for verb in ("change", "delete"):
        address = f"/admin/tenants/apitoken/{token.pk}/{verb}/"
        assert operator.post(address, {"scopes": "write"}).status_code == 403
    assert operator.get("/admin/tenants/apitoken/add/").status_code == 403
    act(operator, "apitoken", "revoke", token)
    token.refresh_from_db()
    assert token.state() == "revoked"


# --- people -------------------------------------------------------------------------------------


def shown_link(response: Any) -> str:
    found = re.search(r"http\S+/password/set/[^<\s]+", text_of(response))
    assert found
    return urlsplit(found.group()).path


def test_a_new_person_gets_a_link_instead_of_a_password(operator: Client) -> None:
    data = {
        "email": "New@example.com",
        "name": "",
        "time_zone": "UTC",
        "theme": "system",
        "density": "comfortable",
        "is_active": "on",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    response = operator.post("/admin/tenants/user/add/", data, follow=True)
    person = User.objects.get(email="new@example.com")
    assert not person.has_usable_password()
    assert Client().get(shown_link(response)).status_code == 302


def test_no_page_of_a_person_shows_the_password(operator: Client) -> None:
    person = make_person()
    page = text_of(operator.get(f"/admin/tenants/user/{person.pk}/change/"))
    assert "password" not in page.replace("/account/password", "").replace(
        "password_change", ""
    ).lower().replace("change password", "")
    assert person.password not in page


def test_a_link_and_an_end_of_sessions_at_a_click(operator: Client) -> None:
    person = make_person()
    browser = signed_in_as(person)
    act(operator, "user", "make_link", person)
    assert Client().get(shown_link(operator.get("/admin/tenants/user/"))).status_code == 302
    act(operator, "user", "end_sessions", person)
    assert browser.get("/account/").status_code == 302
    assert actions_logged() == ["password.link", "session.end"]


def test_switching_a_person_off_ends_their_sessions(operator: Client) -> None:
    person = make_person()
    browser = signed_in_as(person)
    data = {
        "email": person.email,
        "time_zone": "UTC",
        "theme": "system",
        "density": "comfortable",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    assert operator.post(f"/admin/tenants/user/{person.pk}/change/", data).status_code == 302
    assert browser.get("/account/").status_code == 302
    assert actions_logged() == ["admin.user.change"]


def test_deleting_a_person_leaves_what_they_did(operator: Client, tenant: Tenant) -> None:
    gone = make_operator(email="gone@example.com")
    act(signed_in_as(gone), "tenant", "suspend", tenant)
    response = operator.post(f"/admin/tenants/user/{gone.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not User.objects.filter(pk=gone.pk).exists()
    assert "gone@example.com" in text_of(operator.get("/admin/tenants/auditevent/"))
    assert actions_logged() == ["tenant.suspend", "admin.user.delete"]


# --- what the browser may run -------------------------------------------------------------------

INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\sstyle=|\son\w+=|javascript:"
)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "tenants/",
        "tenants/tenant/",
        "tenants/tenant/add/",
        "tenants/tenant/{tenant}/change/",
        "tenants/tenant/{tenant}/history/",
        "tenants/tenant/{tenant}/make-token/",
        "tenants/user/add/",
        "tenants/apitoken/",
        "tenants/auditevent/",
    ],
)
def test_no_page_needs_what_the_content_policy_forbids(
    operator: Client, tenant: Tenant, page: str
) -> None:
    response = operator.get(f"/admin/{page.format(tenant=tenant.pk)}")
    assert response.status_code == 200
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert INLINE.findall(text_of(response)) == []


# --- audit --------------------------------------------------------------------------------------


def test_the_log_can_be_read_only(operator: Client, tenant: Tenant) -> None:
    act(operator, "tenant", "suspend", tenant)
    with across_tenants():
        event = AuditEvent.objects.get()
    page = f"/admin/tenants/auditevent/{event.pk}"
    assert "tenant.suspend" in text_of(operator.get("/admin/tenants/auditevent/"))
    assert operator.get(f"{page}/change/").status_code == 200
    assert operator.post(f"{page}/change/", {}).status_code == 403
    assert operator.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert operator.get("/admin/tenants/auditevent/add/").status_code == 403


def test_the_log_opens_when_tenant_and_person_are_gone(operator: Client, tenant: Tenant) -> None:
    act(operator, "tenant", "suspend", tenant)
    with across_tenants():
        event = AuditEvent.objects.get()
        tenant.delete()
    assert operator.get(f"/admin/tenants/auditevent/{event.pk}/change/").status_code == 200
    assert "acme" in text_of(operator.get("/admin/tenants/auditevent/"))
