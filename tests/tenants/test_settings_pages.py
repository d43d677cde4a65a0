"""Tokens, members, the tenant and its audit log, by their pages."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.db import ProgrammingError, connection, transaction
from django.test import Client

from tenants import audit, lifecycle, members, registry
from tenants.forms import AccountForm, TenantForm, save_changed
from tenants.models import ApiToken, AuditEvent, Membership, Role, Tenant, User
from tenants.scoping import across_tenants, tenant_scope
from tests.tenants.factories import (
    make_member,
    make_person,
    make_tenant,
    make_token,
    signed_in_as,
    without_csrf,
)

pytestmark = pytest.mark.django_db

PAGES = {
    "/t/acme/settings/": Role.ADMIN,
    "/t/acme/settings/tokens/": Role.ADMIN,
    "/t/acme/settings/audit/": Role.ADMIN,
    "/t/acme/settings/members/": Role.OWNER,
    "/t/acme/settings/tenant/": Role.OWNER,
    "/t/acme/settings/tenant/delete/": Role.OWNER,
}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(slug="acme", name="Acme")


@pytest.fixture
def owner(tenant: Tenant) -> User:
    return make_member(tenant, Role.OWNER, email="owner@example.com")


def membership_of(user: User, tenant: Tenant) -> Membership:
    with tenant_scope(tenant):
        return Membership.objects.get(user=user)


def text_of(response: Any) -> str:
    return str(response.content.decode())


# --- who may look -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("role", Role)
def test_a_page_opens_for_its_role(tenant: Tenant, role: Role, address: str) -> None:
    response = signed_in_as(make_member(tenant, role)).get(address)
    if role.at_least(PAGES[address]):
        assert response.status_code in (200, 302)
    else:
        assert response.status_code == 403
        assert f"needs the role {PAGES[address].label} or higher" in text_of(response)


@pytest.mark.parametrize("address", PAGES)
def test_a_foreign_tenant_looks_like_an_unknown_one(tenant: Tenant, address: str) -> None:
    client = signed_in_as(make_member(make_tenant(slug="other"), Role.OWNER))
    foreign, unknown = client.get(address), client.get(address.replace("acme", "unknown"))
    assert foreign.status_code == unknown.status_code == 404
    assert without_csrf(text_of(foreign)) == without_csrf(text_of(unknown))


@pytest.mark.parametrize("address", PAGES)
def test_nobody_is_sent_to_sign_in(tenant: Tenant, address: str) -> None:
    assert Client().get(address)["Location"].startswith("/sign-in/?next=")


def test_a_suspended_tenant_says_so(tenant: Tenant, owner: User) -> None:
    lifecycle.suspend(tenant)
    page = signed_in_as(owner).get("/t/acme/settings/tokens/")
    assert page.status_code == 403
    assert "suspended" in text_of(page)


def test_settings_show_what_the_role_may_see(tenant: Tenant, owner: User) -> None:
    admin = make_member(tenant, Role.ADMIN)
    assert signed_in_as(admin).get("/t/acme/settings/")["Location"] == "/t/acme/settings/tokens/"
    assert "/t/acme/settings/members/" not in text_of(
        signed_in_as(admin).get("/t/acme/settings/tokens/")
    )
    assert "/t/acme/settings/members/" in text_of(
        signed_in_as(owner).get("/t/acme/settings/tokens/")
    )


# --- tokens -------------------------------------------------------------------------------------

TOKEN = {"name": "collector", "scopes": ["ingest"], "expires_in_days": "30"}


def make(client: Client, **changes: Any) -> Any:
    return client.post("/t/acme/settings/tokens/", {**TOKEN, **changes}, follow=True)


def test_a_token_is_shown_once(tenant: Tenant) -> None:
    client = signed_in_as(make_member(tenant, Role.ADMIN))
    page = make(client)
    found = re.search(r"fw_\w{8}_\w{43}", text_of(page))
    assert found
    assert "no-store" in page["Cache-Control"]
    assert page.redirect_chain, "loading the page anew must not make another token"
    listed = text_of(client.get("/t/acme/settings/tokens/"))
    assert found.group() not in listed
    assert found.group()[:11] in listed
    with tenant_scope(tenant):
        token = ApiToken.objects.get()
    assert (token.name, token.scopes) == ("collector", ["ingest"])
    assert token.expires_at is not None


def test_a_secret_waits_for_its_page_unreadable_and_for_its_browser_alone(tenant: Tenant) -> None:
    client = signed_in_as(make_member(tenant, Role.ADMIN))
    client.post("/t/acme/settings/tokens/", TOKEN)
    kept = client.session["shown_once"]
    assert b"fw_" not in bytes.fromhex(kept["masked"])
    del client.cookies["flowwatch-shown-once"]
    assert "is made" not in text_of(client.get("/t/acme/settings/tokens/"))
    assert "shown_once" not in client.session


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("scopes", []),
        ("scopes", ["root"]),
        ("expires_in_days", "-1"),
        ("expires_in_days", "99999999999"),
        ("name", "x" * 256),
    ],
)
def test_a_wrong_token_is_refused_at_its_field(tenant: Tenant, field: str, value: Any) -> None:
    page = make(signed_in_as(make_member(tenant, Role.ADMIN)), **{field: value})
    assert "errorlist" in text_of(page)
    with tenant_scope(tenant):
        assert not ApiToken.objects.exists()


def test_a_token_can_be_bound_to_an_environment_of_the_tenant(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_environment_listers", [lambda _tenant: [(7, "n8n EU")]])
    client = signed_in_as(make_member(tenant, Role.ADMIN))
    assert "n8n EU" in text_of(client.get("/t/acme/settings/tokens/"))
    assert "errorlist" in text_of(make(client, environment_id="8"))
    make(client, environment_id="7")
    with tenant_scope(tenant):
        assert ApiToken.objects.get().environment_id == 7


def test_a_token_is_revoked_by_a_button(tenant: Tenant) -> None:
    token, _ = make_token(tenant)
    client = signed_in_as(make_member(tenant, Role.ADMIN))
    client.post(f"/t/acme/settings/tokens/{token.pk}/revoke/")
    token.refresh_from_db()
    assert token.state() == "revoked"
    assert "Revoked" in text_of(client.get("/t/acme/settings/tokens/"))


@pytest.mark.parametrize("pk", ["0", "999999999999999999999999999"])
def test_an_unknown_token_is_404(tenant: Tenant, owner: User, pk: str) -> None:
    address = f"/t/acme/settings/tokens/{pk}/revoke/"
    assert signed_in_as(owner).post(address).status_code == 404


def test_another_tenants_token_can_not_be_revoked(tenant: Tenant, owner: User) -> None:
    foreign, _ = make_token(make_tenant())
    client = signed_in_as(owner)
    assert client.post(f"/t/acme/settings/tokens/{foreign.pk}/revoke/").status_code == 404
    foreign.refresh_from_db()
    assert foreign.state() == "active"


# --- members ------------------------------------------------------------------------------------

MEMBERS = "/t/acme/settings/members/"


def invite(client: Client, email: str, role: Role = Role.VIEWER) -> Any:
    return client.post(MEMBERS, {"email": email, "role": role.value})


def shown_link(page: Any) -> str | None:
    found = re.search(r"http\S+/password/set/[^<\s]+", text_of(page))
    return urlsplit(found.group()).path if found else None


def test_a_new_person_gets_a_mail_with_a_link(
    tenant: Tenant, owner: User, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        page = invite(signed_in_as(owner), "New@Example.com", Role.ADMIN)
    assert shown_link(page) is None
    [message] = mail.outbox
    assert message.to == ["new@example.com"]
    assert "Acme" in message.subject
    assert "/password/set/" in message.body
    person = User.objects.get(email="new@example.com")
    assert membership_of(person, tenant).role == Role.ADMIN


def test_a_person_with_a_password_just_hears_of_it(
    tenant: Tenant, owner: User, django_capture_on_commit_callbacks: Any
) -> None:
    known = make_person()
    with django_capture_on_commit_callbacks(execute=True):
        invite(signed_in_as(owner), known.email)
    assert "/password/set/" not in mail.outbox[0].body
    assert "/t/acme/" in mail.outbox[0].body


def test_a_tenants_name_can_not_forge_a_mail(
    tenant: Tenant, owner: User, django_capture_on_commit_callbacks: Any
) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(name="A\r\nBcc: x@example.com")
    with django_capture_on_commit_callbacks(execute=True):
        invite(signed_in_as(owner), "new@example.com")
    assert "\n" not in mail.outbox[0].subject
    assert mail.outbox[0].recipients() == ["new@example.com"]


def test_without_mail_a_new_persons_link_is_shown_to_the_owner(
    tenant: Tenant, owner: User, settings: Any
) -> None:
    settings.MAIL_CONFIGURED = False
    link = shown_link(invite(signed_in_as(owner), "new@example.com"))
    assert link
    client = Client()
    form = client.get(link)["Location"]
    client.post(form, {"new_password": "quite a long sentence"})
    assert client.get("/")["Location"] == "/t/acme/"


def test_without_mail_nobody_is_shown_the_link_to_an_account_that_exists(
    tenant: Tenant, owner: User, settings: Any
) -> None:
    settings.MAIL_CONFIGURED = False
    pending = make_member(make_tenant(), Role.OWNER, password=None)
    client = signed_in_as(owner)
    assert shown_link(invite(client, pending.email)) is None
    membership = membership_of(pending, tenant)
    again = client.post(f"{MEMBERS}{membership.pk}/invite-again/")
    assert shown_link(again) is None
    assert shown_link(invite(client, make_person().email)) is None


def test_a_later_invitation_voids_the_link_that_another_owner_holds(
    tenant: Tenant, owner: User, settings: Any
) -> None:
    settings.MAIL_CONFIGURED = False
    first = shown_link(invite(signed_in_as(owner), "new@example.com"))
    assert first
    other = make_tenant(slug="other")
    client = signed_in_as(make_member(other, Role.OWNER))
    client.post("/t/other/settings/members/", {"email": "new@example.com", "role": "owner"})
    assert Client().get(first).status_code == 410


def test_without_mail_a_pending_member_of_this_tenant_only_can_get_a_fresh_link(
    tenant: Tenant, owner: User, settings: Any
) -> None:
    settings.MAIL_CONFIGURED = False
    client = signed_in_as(owner)
    first = shown_link(invite(client, "new@example.com"))
    membership = membership_of(User.objects.get(email="new@example.com"), tenant)
    page = client.post(f"{MEMBERS}{membership.pk}/invite-again/")
    assert "new@example.com is invited again" in text_of(page)
    second = shown_link(page)
    assert first
    assert second
    assert Client().get(first).status_code == 410
    assert Client().get(second).status_code == 302


@pytest.mark.parametrize("email", ["", "no address", "a@b", "x" * 250 + "@example.com"])
def test_what_is_no_address_is_refused(tenant: Tenant, owner: User, email: str) -> None:
    page = invite(signed_in_as(owner), email)
    assert "errorlist" in text_of(page)
    with tenant_scope(tenant):
        assert Membership.objects.count() == 1


def test_nobody_is_a_member_twice(tenant: Tenant, owner: User) -> None:
    page = invite(signed_in_as(owner), owner.email.upper())
    assert "member already" in text_of(page)
    with tenant_scope(tenant):
        assert Membership.objects.count() == 1


def test_a_role_is_changed_and_counts_at_once(tenant: Tenant, owner: User) -> None:
    member = make_member(tenant, Role.VIEWER)
    pk = membership_of(member, tenant).pk
    browser = signed_in_as(member)
    assert browser.get("/t/acme/settings/tokens/").status_code == 403
    signed_in_as(owner).post(f"{MEMBERS}{pk}/role/", {"role": "admin"})
    assert browser.get("/t/acme/settings/tokens/").status_code == 200


def test_a_removed_member_sees_nothing_more(tenant: Tenant, owner: User) -> None:
    member = make_member(tenant, Role.ADMIN)
    pk = membership_of(member, tenant).pk
    browser = signed_in_as(member)
    signed_in_as(owner).post(f"{MEMBERS}{pk}/remove/")
    assert browser.get("/t/acme/settings/tokens/").status_code == 404
    assert User.objects.filter(pk=member.pk).exists()


@pytest.mark.parametrize("deed", ["role", "remove"])
def test_the_last_owner_stays(tenant: Tenant, owner: User, deed: str) -> None:
    make_member(tenant, Role.OWNER, is_active=False)  # could not manage anything
    pk = membership_of(owner, tenant).pk
    client = signed_in_as(owner)
    client.post(f"{MEMBERS}{pk}/{deed}/", {"role": "viewer"})
    assert membership_of(owner, tenant).role == Role.OWNER
    assert "needs an owner" in text_of(client.get(MEMBERS))


@pytest.mark.parametrize("deed", ["role", "remove"])
def test_an_owner_may_leave_when_there_is_another(tenant: Tenant, owner: User, deed: str) -> None:
    make_member(tenant, Role.OWNER)
    pk = membership_of(owner, tenant).pk
    signed_in_as(owner).post(f"{MEMBERS}{pk}/{deed}/", {"role": "viewer"})
    with tenant_scope(tenant):
        assert not Membership.objects.filter(user=owner, role=Role.OWNER).exists()


def test_another_tenants_member_can_not_be_touched(tenant: Tenant, owner: User) -> None:
    other = make_tenant()
    foreign = make_member(other, Role.VIEWER)
    pk = membership_of(foreign, other).pk
    client = signed_in_as(owner)
    for deed in ("role", "remove", "invite-again"):
        assert client.post(f"{MEMBERS}{pk}/{deed}/", {"role": "owner"}).status_code == 404
    assert membership_of(foreign, other).role == Role.VIEWER


@pytest.mark.parametrize("deed", ["role", "remove"])
def test_a_member_whom_another_owner_removed_first_is_no_error(
    tenant: Tenant, owner: User, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    membership = membership_of(make_member(tenant, Role.VIEWER), tenant)
    monkeypatch.setattr("tenants.pages.settings._member", lambda pk: membership)
    with tenant_scope(tenant):
        Membership.objects.filter(pk=membership.pk).delete()
    client = signed_in_as(owner)
    page = client.post(f"{MEMBERS}{membership.pk}/{deed}/", {"role": "admin"}, follow=True)
    assert "no longer a member" in text_of(page)


# --- the tenant ---------------------------------------------------------------------------------


def test_an_owner_renames_the_tenant(tenant: Tenant, owner: User) -> None:
    signed_in_as(owner).post(
        "/t/acme/settings/tenant/", {"name": "Acme & Sons", "location_id": " loc-9 "}
    )
    tenant.refresh_from_db()
    assert (tenant.name, tenant.location_id) == ("Acme & Sons", "loc-9")
    signed_in_as(owner).post("/t/acme/settings/tenant/", {"name": "Acme", "location_id": ""})
    tenant.refresh_from_db()
    assert tenant.location_id is None


def test_saving_a_name_does_not_undo_what_was_done_meanwhile(tenant: Tenant) -> None:
    form = TenantForm({"name": "Renamed", "location_id": ""}, instance=tenant)
    lifecycle.suspend(Tenant.objects.get(pk=tenant.pk))
    assert form.is_valid()
    save_changed(form)
    stored = Tenant.objects.get(pk=tenant.pk)
    assert stored.name == "Renamed"
    assert stored.is_suspended


def test_saving_the_account_does_not_bring_an_old_password_back(owner: User) -> None:
    form = AccountForm(
        {"name": "Ann", "time_zone": "UTC", "theme": "dark", "density": "compact"}, instance=owner
    )
    fresh = User.objects.get(pk=owner.pk)
    fresh.set_password("a quite new sentence")
    fresh.save()
    assert form.is_valid(), form.errors
    save_changed(form)
    stored = User.objects.get(pk=owner.pk)
    assert stored.check_password("a quite new sentence")
    assert stored.name == "Ann"


def test_a_location_belongs_to_one_tenant(tenant: Tenant, owner: User) -> None:
    make_tenant(location_id="taken")
    page = signed_in_as(owner).post(
        "/t/acme/settings/tenant/", {"name": "Changed", "location_id": "taken"}
    )
    assert "errorlist" in text_of(page)
    assert "Changed ·" not in text_of(page)


def test_deleting_needs_the_slug_typed(tenant: Tenant, owner: User) -> None:
    client = signed_in_as(owner)
    client.post("/t/acme/settings/tenant/delete/", {"confirm": "acm"})
    tenant.refresh_from_db()
    assert not tenant.is_being_deleted
    assert client.post("/t/acme/settings/tenant/delete/", {"confirm": "acme"}).status_code == 302
    tenant.refresh_from_db()
    assert tenant.is_being_deleted
    assert client.get("/t/acme/settings/tokens/").status_code == 404


# --- audit --------------------------------------------------------------------------------------


def test_what_is_done_stands_in_the_log_and_on_its_page(tenant: Tenant, owner: User) -> None:
    client = signed_in_as(owner)
    page = make(client)
    secret = re.search(r"fw_\w{8}_\w{43}", text_of(page))
    assert secret
    with tenant_scope(tenant):
        pk = ApiToken.objects.get().pk
    client.post(f"/t/acme/settings/tokens/{pk}/revoke/")
    invite(client, "new@example.com")
    member = membership_of(User.objects.get(email="new@example.com"), tenant)
    client.post(f"{MEMBERS}{member.pk}/role/", {"role": "admin"})
    client.post(f"{MEMBERS}{member.pk}/invite-again/")
    client.post(f"{MEMBERS}{member.pk}/remove/")
    client.post("/t/acme/settings/tenant/", {"name": "New name", "location_id": ""})
    with tenant_scope(tenant):
        rows = list(AuditEvent.objects.order_by("id").values())
    assert [row["action"] for row in rows] == [
        "token.create",
        "token.revoke",
        "member.add",
        "member.role",
        "member.invite-again",
        "member.remove",
        "tenant.change",
    ]
    assert {row["actor_label"] for row in rows} == {owner.email}
    assert secret.group() not in str(rows)
    log = text_of(client.get("/t/acme/settings/audit/"))
    assert all(row["action"] in log for row in rows)
    for words in ("Token made", "Member given another role", "Member invited again"):
        assert words in log


def test_the_log_pages_by_id_without_gap_or_repeat(tenant: Tenant, owner: User) -> None:
    for n in range(120):
        audit.record("test.deed", tenant=tenant, actor="x", subject=f"[{n}]")
    audit.record("test.deed", tenant=make_tenant(), actor="x", subject="[foreign]")
    client, seen, address = signed_in_as(owner), list[str](), "/t/acme/settings/audit/"
    while address:
        page = text_of(client.get(address))
        seen += re.findall(r">\[(\w+)\]<", page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = f"/t/acme/settings/audit/{older.group(1)}" if older else ""
    assert seen == [str(n) for n in reversed(range(120))]


@pytest.mark.parametrize("before", ["x", "-1", "1e9", "9" * 40, "²", "\x00"])
def test_a_broken_page_address_shows_the_newest(tenant: Tenant, owner: User, before: str) -> None:
    audit.record("test.deed", tenant=tenant, actor="x")
    page = signed_in_as(owner).get("/t/acme/settings/audit/", {"before": before})
    assert page.status_code == 200
    assert "test.deed" in text_of(page)


def test_script_in_names_is_shown_as_text(tenant: Tenant, owner: User) -> None:
    script = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    Tenant.objects.filter(pk=tenant.pk).update(name=script)
    User.objects.filter(pk=owner.pk).update(name=script)
    client = signed_in_as(owner)
    make(client, name=script)
    for address in PAGES:
        page = text_of(client.get(address, follow=True))
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_every_entry_is_one_printable_line(tenant: Tenant) -> None:
    event = audit.record(
        "test.deed", tenant=tenant, actor="a\r\nb", subject="\x1b[31mred\u202e", note=["x\ny"]
    )
    event.refresh_from_db()
    assert (event.actor_label, event.subject) == ("a\ufffd\ufffdb", "\ufffd[31mred\ufffd")
    assert event.detail == {"note": ["x\ufffdy"]}


def test_the_app_role_can_not_change_the_log(tenant: Tenant) -> None:
    audit.record("test.deed", tenant=tenant, actor="x")
    for statement in (
        "UPDATE tenants_auditevent SET action = 'nothing'",
        "DELETE FROM tenants_auditevent",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(statement)
    with across_tenants():
        assert AuditEvent.objects.get().action == "test.deed"


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_do_not_leave_the_tenant_alone() -> None:
    tenant = make_tenant()
    pair = [membership_of(make_member(tenant, Role.OWNER), tenant) for _ in range(2)]
    start = Barrier(2)

    def leave(membership: Membership) -> bool:
        try:
            start.wait(10)
            with tenant_scope(tenant):
                members.remove_member(membership)
            return True
        except members.LastOwner:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, pair)) == [False, True]
