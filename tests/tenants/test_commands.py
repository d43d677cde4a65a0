"""The commands print what they made and nothing else; they explain failures on standard error."""

from __future__ import annotations

import re
import zipfile
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tenants import registry
from tenants.models import ApiToken, AuditEvent, Membership, Role, Tenant, User
from tenants.scoping import across_tenants
from tenants.tokens import find_token
from tests.tenants.factories import PASSWORD, make_person, make_tenant

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    """Run a command as from a shell; return what it wrote to both streams."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_create_tenant_prints_the_slug() -> None:
    written = run("create_tenant", "Acme & Sons", "--slug", "acme", "--location-id", "loc-1")
    assert written == ("acme\n", "")
    tenant = Tenant.objects.get()
    assert (tenant.name, tenant.location_id) == ("Acme & Sons", "loc-1")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["Twin", "--slug", "taken"], "slug"),
        (["Twin", "--slug", "new", "--location-id", "taken-loc"], "location"),
        (["Odd", "--slug", "no spaces"], "slug"),
        (["Odd", "--slug", ""], "slug"),
        (["", "--slug", "new"], "name"),
        (["x" * 256, "--slug", "new"], "name"),
    ],
)
def test_create_tenant_explains_what_is_wrong(arguments: list[str], reason: str) -> None:
    make_tenant(slug="taken", location_id="taken-loc")
    with pytest.raises(CommandError, match=reason):
        run("create_tenant", *arguments)
    assert Tenant.objects.count() == 1


def test_create_token_prints_only_the_token() -> None:
    tenant = make_tenant()
    out, err = run("create_token", tenant.slug, "--scopes", "ingest, read", "--expires", "7")
    assert re.fullmatch(r"fw_\w{8}_\w{43}\n", out)
    assert err == ""
    token = find_token(out.strip())
    assert token is not None
    assert (token.tenant, token.scopes) == (tenant, ["ingest", "read"])
    assert token.expires_at is not None


def test_create_token_binds_to_an_environment_of_the_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_environment_listers", [lambda _tenant: [(7, "n8n EU")]])
    tenant = make_tenant()
    out, _ = run("create_token", tenant.slug, "--scopes", "ingest", "--environment", "7")
    token = find_token(out.strip())
    assert token is not None
    assert token.environment_id == 7
    with pytest.raises(CommandError, match=r"7 \(n8n EU\)"):
        run("create_token", tenant.slug, "--scopes", "ingest", "--environment", "8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown", "--scopes", "read"],
        ["acme", "--scopes", ""],
        ["acme", "--scopes", "root"],
        ["acme", "--scopes", "read", "--expires", "0"],
        ["acme", "--scopes", "read", "--expires", "99999999"],
        ["acme", "--scopes", "read", "--expires", "soon"],
        ["acme"],
    ],
)
def test_create_token_makes_nothing_when_something_is_wrong(arguments: list[str]) -> None:
    make_tenant(slug="acme")
    with pytest.raises(CommandError):
        run("create_token", *arguments)
    with across_tenants():
        assert not ApiToken.objects.exists()


def test_create_member_prints_the_address_to_set_a_password() -> None:
    make_tenant(slug="acme")
    out, err = run("create_member", "acme", "Ann@Example.com", "--role", "operator")
    assert err == ""
    address = urlsplit(out.strip())
    assert out == f"{address.geturl()}\n"
    client = Client()
    form = client.get(address.path)["Location"]
    client.post(form, {"new_password": "quite a long sentence"})
    assert client.get("/")["Location"] == "/t/acme/"
    with across_tenants():
        assert Membership.objects.get().role == Role.OPERATOR


def test_create_member_prints_nothing_when_a_password_is_given() -> None:
    make_tenant(slug="acme")
    given = ("create_member", "acme", "ann@example.com", "--role", "owner", "--password", PASSWORD)
    assert run(*given) == ("", "")
    assert User.objects.get().check_password(PASSWORD)


def test_create_member_warns_of_a_weak_password_beside_its_output() -> None:
    make_tenant(slug="acme")
    out, err = run("create_member", "acme", "a@example.com", "--role", "owner", "--password", "x")
    assert out == ""
    assert "weak" in err


def test_create_member_adds_a_known_person_to_another_tenant() -> None:
    person = make_person()
    for slug in ("one", "two"):
        make_tenant(slug=slug)
        _, said = run("create_member", slug, person.email.upper(), "--role", "viewer")
        assert "has a password already" in said
    assert User.objects.count() == 1
    with across_tenants():
        assert Membership.objects.filter(user=person).count() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown", "a@example.com", "--role", "owner"],
        ["acme", "no address", "--role", "owner"],
        ["acme", "x" * 250 + "@example.com", "--role", "owner"],
        ["acme", "a@example.com", "--role", "king"],
        ["acme", "a@example.com"],
        ["acme", "a@example.com", "--role", "owner", "--password", ""],
        ["acme", "member@example.com", "--role", "owner"],
    ],
)
def test_create_member_makes_nothing_when_something_is_wrong(arguments: list[str]) -> None:
    make_tenant(slug="acme")
    run("create_member", "acme", "member@example.com", "--role", "viewer")
    with pytest.raises(CommandError):
        run("create_member", *arguments)
    with across_tenants():
        assert [str(m) for m in Membership.objects.all()] == ["member@example.com, viewer"]


def test_export_tenant_writes_a_file_and_prints_its_name(tmp_path: Path) -> None:
    make_tenant(slug="acme")
    file = tmp_path / "acme.zip"
    assert run("export_tenant", "acme", str(file)) == (f"{file}\n", "")
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert "acme/tenant.ndjson" in archive.namelist()
    for wrong in (["acme", str(file)], ["acme", str(tmp_path)], ["unknown", f"{file}2"]):
        with pytest.raises(CommandError):
            run("export_tenant", *wrong)


def test_what_commands_do_is_in_the_audit_log() -> None:
    run("create_tenant", "Acme", "--slug", "acme")
    out, _ = run("create_token", "acme", "--scopes", "read")
    run("create_member", "acme", "a@example.com", "--role", "owner", "--password", PASSWORD)
    with across_tenants():
        rows = list(AuditEvent.objects.order_by("id").values())
    assert [(row["action"], row["actor_label"]) for row in rows] == [
        ("tenant.create", "command"),
        ("token.create", "command"),
        ("member.add", "command"),
        ("password.set", "command"),
    ]
    assert out.strip() not in str(rows)
    assert PASSWORD not in str(rows)
