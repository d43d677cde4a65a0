"""60 script payloads in every text field: on no page does anything of them come to life.

Nothing runs, no element comes out of a text, no policy is violated, nothing is written to the
console, and no other host is asked for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Browser, ConsoleMessage, Page
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import watch
from tests.browser.hostile_site import HostileSite, build_hostile_site
from tests.browser.pages import page_addresses
from tests.browser.payloads import MARK, PAYLOADS
from tests.tenants.factories import signed_in_as

CAME_TO_LIFE = f"""() => {{
  const found = [...document.querySelectorAll("[{MARK}], {MARK}, base, object, embed, iframe")];
  const scripts = [...document.scripts].filter((script) => !script.src && script.type !== "application/json");
  const links = [...document.querySelectorAll("[href], [action], [formaction], [src]")].filter((one) =>
    ["href", "action", "formaction", "src"].some((name) =>
      /^[\\s\\0-\\x20]*(javascript|data|vbscript):/i.test(one.getAttribute(name) ?? "")));
  const handlers = [...document.querySelectorAll("*")].filter((one) =>
    one.getAttributeNames().some((name) => name.startsWith("on")));
  return [...found, ...scripts, ...links, ...handlers].map((one) => one.outerHTML.slice(0, 160));
}}"""


SWAP = """async (address) => {
  const old = document.querySelector("#detail");
  await htmx.ajax("GET", address, {
    source: old, target: old, select: "#detail", swap: "outerHTML", headers: { "HX-Boosted": "true" } });
  if (old.isConnected) throw new Error(`nothing was put in for ${address}`);
}"""


class Visitor:
    """Opens pages and keeps what should not have happened on them."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.happened = watch(page)
        self.troubles: list[str] = []
        page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        # The console tells of every answer of 4xx; for the page itself that may be meant.
        is_own_status = message.location["url"] == self.page.url
        if message.type in ("error", "warning") and not is_own_status:
            self.happened.append(f"console: {message.text} {message.location['url']}")

    def open(self, address: str, *, wait_for: str = "") -> None:
        """Open an address, wait for the parts that it loads later, and look at what is there."""
        self.happened.clear()
        self.page.goto(self.base + address, wait_until="load")
        if wait_for:
            self.page.locator(wait_for).first.wait_for()
        self.look(address)

    def swap(self, address: str, *, wait_for: str = "") -> None:
        """Have htmx put another detail into the open execution, as a click on its links does."""
        self.happened.clear()
        self.page.evaluate(SWAP, address)
        if wait_for:
            self.page.locator(wait_for).first.wait_for()
        self.look(address)

    def look(self, where: str) -> None:
        """Note what came to life on the open page."""
        self.happened += [f"came to life: {one}" for one in self.page.evaluate(CAME_TO_LIFE)]
        self.troubles += [f"{where}: {one}" for one in self.happened]
        self.happened.clear()


@pytest.fixture
def site(live_server: LiveServer, cached_static_files: None) -> HostileSite:
    return build_hostile_site()


@pytest.fixture
def visitor(browser: Browser, site: HostileSite, live_server: LiveServer) -> Iterator[Visitor]:
    """Who is signed in as the hostile tenant's owner, in a browser that calls itself a payload."""
    agent = {"headers": {"User-Agent": PAYLOADS[5]}}
    key = signed_in_as(site.owner, **agent).session.session_key
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", user_agent=PAYLOADS[5]
    )
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": str(key), "url": live_server.url}]
    )
    yield Visitor(context.new_page(), live_server.url)
    context.close()


def test_every_page(visitor: Visitor, site: HostileSite) -> None:
    addresses = list(page_addresses(site))
    for address in addresses:
        visitor.open(address)
    listing = reverse("monitoring:executions", args=[site.tenant.slug])
    workflows = reverse("monitoring:workflows", args=[site.tenant.slug])
    for address in (
        f"{listing}?range=7d",
        f"{workflows}?sort=name",
        f"{workflows}?page=2&sort=name",
    ):
        visitor.open(address)
    for workflow in site.workflows[:: len(site.workflows) // 6]:
        page = reverse("monitoring:workflow", args=[site.tenant.slug, workflow])
        visitor.open(f"{page}?range=7d")
        visitor.open(f"{page}?tab=settings")
    assert not visitor.troubles, "\n".join(visitor.troubles)


def test_every_execution_and_the_panel_of_every_node(visitor: Visitor, site: HostileSite) -> None:
    for execution in site.executions:
        visitor.open(reverse("monitoring:execution", args=[site.tenant.slug, execution]))
    page = reverse("monitoring:execution", args=[site.tenant.slug, site.many_nodes])
    for tab in ("nodes", "trigger", "log"):
        visitor.open(f"{page}?{urlencode({'tab': tab})}")
    parts = ("error", "input", "output", "more")
    for number, node in enumerate(site.node_ids):
        part = parts[number % len(parts)]
        tree = "#node [role=tree]" if part in ("input", "output") else ""
        # As people come to it: most panels are put into a page that is open.
        show = visitor.swap if number % 5 else visitor.open
        show(f"{page}?{urlencode({'node': node, 'part': part})}", wait_for=tree)
    for tab in ("trigger", "log"):
        first = reverse("monitoring:execution", args=[site.tenant.slug, site.executions[0]])
        visitor.open(f"{first}?tab={tab}", wait_for="[role=tree]")
    assert not visitor.troubles, "\n".join(visitor.troubles)


def test_what_an_address_says(visitor: Visitor, site: HostileSite) -> None:
    """Payloads in parameters come back in fields, notices and links, and stay texts."""
    listing = reverse("monitoring:executions", args=[site.tenant.slug])
    workflows = reverse("monitoring:workflows", args=[site.tenant.slug])
    execution = reverse("monitoring:execution", args=[site.tenant.slug, site.many_nodes])
    names = (
        "error",
        "workflow",
        "trigger",
        "version",
        "min",
        "status",
        "environment",
        "fingerprint",
    )
    for number, payload in enumerate(PAYLOADS):
        told = {
            name: PAYLOADS[(number + place) % len(PAYLOADS)] for place, name in enumerate(names)
        }
        visitor.open(f"{listing}?range=1h&{urlencode(told)}")
        if number % 6 == 0:
            visitor.open(
                f"{workflows}?{urlencode({'q': payload, 'sort': payload, 'range': payload})}"
            )
            visitor.open(f"{execution}?{urlencode({'node': payload, 'run': payload, **told})}")
            visitor.open(f"{execution}?{urlencode({'tab': payload})}")
            visitor.open(f"/{payload.encode().hex()}/?{urlencode({payload: payload})}")
            visitor.open(f"/sign-in/?{urlencode({'next': payload})}")
    assert not visitor.troubles, "\n".join(visitor.troubles)


def test_the_palette_and_the_suggestions(visitor: Visitor, site: HostileSite) -> None:
    visitor.open(reverse("monitoring:overview", args=[site.tenant.slug]))
    for text in ("<", "script", "onerror", "alert", "many-nodes"):
        visitor.page.keyboard.press("Control+k")
        visitor.page.keyboard.type(text)
        visitor.page.get_by_role("option").first.wait_for()
        visitor.page.wait_for_load_state("networkidle")
        visitor.look(f"palette with {text}")
        visitor.page.keyboard.press("Escape")
    assert not visitor.troubles, "\n".join(visitor.troubles)
