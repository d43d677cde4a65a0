"""The page that connects Python: what to paste, a token shown once, and who may make one."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from typing import Any

import pytest
from django.test import Client

from monitoring.models import Execution
from tenants.models import ApiToken, Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_member

pytestmark = pytest.mark.django_db

PAGE = "/t/agency/settings/python/"
TOKEN = re.compile(r"fw_\w{8}_\w{43}")


def codes(page: str) -> list[str]:
    """What can be copied, in order."""
    found = re.findall(r"<code data-copy-text>(.*?)</code>", page, re.S)
    return [unescape(each) for each in found]


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def test_it_shows_all_that_is_to_be_pasted(viewer: Client) -> None:
    install, environment, example, ping = codes(text_of(viewer.get(PAGE)))
    assert install == "pip install ./client"
    assert environment.splitlines() == [
        "export FLOWWATCH_URL=http://testserver",
        "export FLOWWATCH_TOKEN=fw_…",
    ]
    assert example.startswith("from flowwatch_client import node, workflow\n")
    compile(example, "invoices.py", "exec")
    assert "curl" in ping
    assert "-X POST" in ping
    assert '"Authorization: Bearer $FLOWWATCH_TOKEN"' in ping
    assert ping.endswith("http://testserver/api/heartbeats/nightly-backup")


def test_a_made_token_is_put_in_once(admin: Client, tenant: Tenant) -> None:
    page = text_of(admin.get(PAGE))
    [action] = re.findall(r'<form method="post" action="([^"]+python/token/)"', page)
    answer = admin.post(action)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    shown = admin.get(PAGE)
    assert "no-store" in shown["Cache-Control"]
    _, environment, _, ping = codes(text_of(shown))
    [token] = TOKEN.findall(environment)
    assert token in ping, "cron knows no variables of a shell"
    assert not TOKEN.search(text_of(admin.get(PAGE))), "a second look shows nothing"
    with tenant_scope(tenant):
        made = ApiToken.objects.get()
    assert (made.name, list(made.scopes)) == ("Python", ["ingest"])


def test_what_is_pasted_works(admin: Client, tenant: Tenant) -> None:
    admin.post(f"{PAGE}token/")
    [token] = set(TOKEN.findall(text_of(admin.get(PAGE))))
    answer = Client().post(
        "/api/heartbeats/nightly-backup", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200
    with tenant_scope(tenant):
        assert Execution.objects.count() == 1


def test_who_makes_no_tokens_learns_who_does(viewer: Client, tenant: Tenant) -> None:
    make_member(tenant, Role.ADMIN, name="Ada Admin")
    page = text_of(viewer.get(PAGE))
    assert "Make a token" not in page
    assert "Ada Admin can make one" in page
    assert viewer.post(f"{PAGE}token/").status_code == 403


@pytest.mark.parametrize("place", ["", "executions/", "workflows/"])
def test_empty_pages_lead_there(viewer: Client, place: str) -> None:
    assert PAGE in text_of(viewer.get(f"/t/agency/{place}"))


def test_menus_lead_there(admin: Client) -> None:
    page = text_of(admin.get("/t/agency/settings/tokens/"))
    assert page.count(f'href="{PAGE}"') == 2, "a tab of the settings, and the account's menu"


def test_the_example_imports_nothing_that_is_not_there() -> None:
    """Its only import is the client, so that it runs with what the page says to install."""
    from monitoring.example.python_client import EXAMPLE

    stand_in = (
        "import sys, types\n"
        "client = types.ModuleType('flowwatch_client')\n"
        "client.node = lambda function: function\n"
        "client.workflow = lambda name: lambda function: function\n"
        "sys.modules['flowwatch_client'] = client\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", stand_in + EXAMPLE], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().endswith(
        "RuntimeError: 503 Service Unavailable: the invoicing service is down"
    )
