"""Every page in both themes: nothing serious for those who can't see or use a mouse, and in budget.

What scripts and styles may weigh stands in tests/tenants/test_look.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tests.browser.axe import serious_findings
from tests.browser.chromium import Traffic
from tests.browser.hostile_site import HostileSite, build_hostile_site
from tests.browser.pages import page_addresses
from tests.tenants.factories import signed_in_as

HTML_BYTES = 150 * 1024
MOST_SHIFT = 0.05
# Parts that move when others arrive: not a table whose columns grow while the parser still adds its
# rows, which a busy machine paints in between (all that scripts and answers move comes later).
SHIFT = """new Promise((done) => { let sum = 0;
  const parsed = performance.getEntriesByType("navigation")[0].domInteractive;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (one.startTime >= parsed) sum += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 50); })"""


@pytest.fixture
def site(live_server: LiveServer, cached_static_files: None) -> HostileSite:
    return build_hostile_site(size=12)  # what axe takes grows with the rows


@pytest.fixture
def page(browser: Browser, site: HostileSite, live_server: LiveServer) -> Iterator[Page]:
    """A window of the hostile tenant's owner."""
    key = signed_in_as(site.owner).session.session_key
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", base_url=live_server.url
    )
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": str(key), "url": live_server.url}]
    )
    yield context.new_page()
    context.close()


def test_no_page_shuts_anybody_out_or_grows_beyond_its_budget(
    page: Page, site: HostileSite
) -> None:
    """Serious findings of axe-core, HTML over 150 KB, and parts that move when others arrive."""
    traffic = Traffic(page)
    found, seen = [], set[str]()
    for address in page_addresses(site):
        if address.startswith("/admin/"):
            continue  # Django's own pages
        answer = traffic.open(address)
        assert answer is not None
        if page.url in seen:
            continue  # it led to another page
        seen.add(page.url)
        size = len(answer.body())
        if size > HTML_BYTES:
            found.append(f"{address}: {size} bytes of HTML")
        if (shift := float(page.evaluate(SHIFT))) > MOST_SHIFT:
            found.append(f"{address}: the layout shifts by {shift:.3f}")
        page.emulate_media(color_scheme="light")
        found += [f"{address} (light): {one}" for one in serious_findings(page)]
        # Nothing but the colours differs.
        page.emulate_media(color_scheme="dark")
        found += [f"{address} (dark): {one}" for one in serious_findings(page, "color-contrast")]
    assert not found, "\n".join(found)
