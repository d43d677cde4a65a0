"""`python -m tests.browser.shots [page …]`: pictures of every page, to be looked at.

Starts the product with its example data in a folder of its own, adds a tenant without data and one
with hostile data, and takes every page that the URL resolver knows (sample addresses are found by
following links) at 1440 and 390 px, light and dark, into the ignored folder `shots/`. Prints the
paths, and what was noticed on the way: policy violations, script errors, pages wider than the
window, serious findings of axe-core. Words on the command line limit it to pages whose name
contains one of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page

from tests.browser.axe import serious_findings
from tests.browser.chromium import PATIENCE_MS, chromium, watch
from tests.browser.hostile import TENANT_NAME, hostile_executions

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "shots"
MAIL, PASSWORD = "shots@example.com", "only-for-pictures"
EXAMPLE, EMPTY, HOSTILE = "example-agency", "empty", "hostile"
SIZES = ((1440, 900), (390, 844))
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
START_SECONDS = 180
DEFINITIONS = ROOT / "tests" / "fixtures" / "n8n-workflows"
SCAN_SECONDS = 8
# Not pages of ours, or pages that end the session that takes the pictures.
LEFT_OUT = ("/admin/", "/api/", "/health/", "/v1/", "/sign-out/")
# Pages that only a pressed button leads to: by tenant, the pages with that button.
ACTS = {
    EMPTY: ("monitoring:executions", "monitoring:connect-python"),
    HOSTILE: ("tokens", "monitoring:workflow-clear"),
}
OF_NO_TENANT = ("/account/", "/account/password/", "/api/docs", "/no-such-page/")
SIGNED_OUT = ("/sign-in/", "/password/reset/", "/password/reset/sent/", "/no-such-page/")


# --- the product ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Product:
    """A running installation."""

    url: str
    environment: dict[str, str]
    log: Path

    def command(self, *arguments: str) -> str:
        """Run `manage.py` beside it; return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"manage.py {arguments[0]} failed:\n{done.stderr}")
        return done.stdout.strip()


@contextmanager
def running_product() -> Iterator[Product]:
    """Start everything in a folder of its own and end it again."""
    port = _free_port()
    folder = Path(tempfile.mkdtemp(prefix="flowwatch-shots-"))
    folder.chmod(0o711)  # as root, the database's own system user has to pass through
    url = f"http://localhost:{port}"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "MIGRATION_DATABASE_URL", "FRONTEND_URL")
    }
    environment |= {"FLOWWATCH_DATA": str(folder / "data"), "PORT": str(port)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run", "--end-with-parent"],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_ready(url, process)
        yield Product(url, environment, folder / "log")
    except BaseException:  # whatever went wrong: show what the product said
        print((folder / "log").read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("The product did not start.")


def add_tenants(product: Product) -> None:
    """Let one person own the example, a tenant without data and one with hostile data."""
    product.command("create_tenant", "Nothing yet Ltd", "--slug", EMPTY)
    product.command("create_tenant", TENANT_NAME, "--slug", HOSTILE)
    for slug in (EXAMPLE, EMPTY, HOSTILE):
        product.command("create_member", slug, MAIL, "--role", "owner", "--password", PASSWORD)
    token = product.command("create_token", HOSTILE, "--scopes", "ingest")
    for execution in hostile_executions():
        _call(product, token, "POST", "/api/executions", json.dumps(execution).encode())


def scan_example(product: Product) -> None:
    """Give the example definitions with something to find, and scan it before and after the last."""
    token = product.command("create_token", EXAMPLE, "--scopes", "write")
    *first, last = sorted(DEFINITIONS.glob("02*.json"))
    for files in (first, [last]):
        for file in files:
            path = f"/api/workflows/{file.stem}/definition"
            _call(product, token, "PUT", path, file.read_bytes())
        _call(product, token, "POST", "/api/schedules/run-now")
        time.sleep(SCAN_SECONDS)


def _call(product: Product, token: str, method: str, path: str, body: bytes = b"{}") -> None:
    request = urllib.request.Request(
        product.url + path,
        data=body,
        method=method,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


# --- the pages ------------------------------------------------------------------------------------
def page_names() -> set[str]:
    """Return the names of all addresses that the resolver knows, without machines' paths."""
    from django.urls import URLPattern, URLResolver, get_resolver

    found: set[str] = set()

    def walk(patterns: list[URLPattern | URLResolver], space: str, before: str) -> None:
        for entry in patterns:
            route = before + str(entry.pattern).removeprefix("^")
            if f"/{route}".startswith(LEFT_OUT):
                continue
            if isinstance(entry, URLResolver):
                inner = f"{space}{entry.namespace}:" if entry.namespace else space
                walk(entry.url_patterns, inner, route)
            elif entry.name:
                found.add(space + entry.name)

    walk(get_resolver().url_patterns, "", "")
    return found


@dataclass(slots=True)
class Album:
    """Takes the pictures, remembers what was noticed."""

    product: Product
    only: list[str]
    seen: set[str] = field(default_factory=set)
    noticed: list[str] = field(default_factory=list)

    def tenant(self, browser: Browser, slug: str) -> None:
        """Follow the links from a tenant's overview; one picture set for each named page."""
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        troubles = watch(page)
        page.goto(f"{self.product.url}/sign-in/")
        page.get_by_label("mail").first.fill(MAIL)
        page.locator("input[type=password]").fill(PASSWORD)
        page.locator("main button[type=submit]").click()
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        taken: dict[str, str] = {}
        waiting = [f"/t/{slug}/", *OF_NO_TENANT]
        while waiting:
            address = waiting.pop(0)
            name = _name_of(address)
            if name in taken:
                continue
            taken[name] = address
            try:
                answer = page.goto(self.product.url + address, wait_until="load")
            except Error:  # a download, not a page
                continue
            if answer is None or "text/html" not in answer.headers.get("content-type", ""):
                continue
            name = _name_of(urlsplit(page.url).path)
            taken[name] = address
            self.seen.add(name)
            waiting += _links(page, slug)
            tabs = _tabs(page)
            self.pictures(page, f"{slug}-{name}")
            for label, tab in tabs:
                page.goto(tab)
                waiting += _links(page, slug)
                self.pictures(page, f"{slug}-{name}-{label}")
            self.noticed += [f"{slug} {address}: {trouble}" for trouble in troubles]
            troubles.clear()
        for name in ACTS.get(slug, ()):
            page.goto(self.product.url + taken[name])
            page.locator("main form[method=post] .btn.primary").first.click()
            page.wait_for_load_state("load")
            self.seen.add(shown := _name_of(urlsplit(page.url).path))
            self.pictures(page, f"{slug}-{shown}-done")
        context.close()

    def signed_out(self, browser: Browser) -> None:
        """Take the pages before sign-in."""
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        for address in SIGNED_OUT:
            name = _name_of(address)
            page.goto(self.product.url + address)
            self.seen.add(name)
            self.pictures(page, f"signed-out-{name}")

    def pictures(self, page: Page, name: str) -> None:
        """Take the page in both widths and themes, if it is wanted."""
        if self.only and not any(word in name for word in self.only):
            return
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for theme in THEMES:
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                _see_everything(page)
                path = FOLDER / f"{name.replace(':', '-')}-{width}-{theme}.png"
                page.screenshot(path=path, full_page=True)
                print(path.relative_to(ROOT), flush=True)
            if too_wide := page.evaluate(TOO_WIDE):
                self.noticed.append(f"{name} at {width} px is too wide: {too_wide}")
            self.noticed += [f"{name} at {width} px: {line}" for line in serious_findings(page)]
        page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})


TOO_WIDE = """() => {
  if (document.documentElement.scrollWidth <= innerWidth) return "";
  const beyond = (e) => e.getBoundingClientRect().right > innerWidth + 1;
  const name = (e) => `${e.tagName.toLowerCase()}.${e.className.baseVal ?? e.className}`;
  return [...document.querySelectorAll("body *")].filter(beyond).slice(0, 3).map(name).join(", ");
}"""


def _see_everything(page: Page) -> None:
    """Scroll through the page, so that what loads when seen is there; wait until it is quiet."""
    page.evaluate(
        "async () => { for (let y = 0; y < document.body.scrollHeight; y += 600) {"
        " scrollTo(0, y); await new Promise((go) => setTimeout(go, 40)); } scrollTo(0, 0); }"
    )
    page.wait_for_load_state("networkidle")
    page.locator("[data-busy]:visible").first.wait_for(state="hidden", timeout=PATIENCE_MS)


def _links(page: Page, slug: str) -> list[str]:
    """Return the addresses of this tenant that the page links to, without their parameters."""
    hrefs: list[str] = page.eval_on_selector_all(
        "a[href]:not([download])",
        "links => links.map((a) => new URL(a.getAttribute('href'), location).href)",
    )
    paths = dict.fromkeys(urlsplit(href).path for href in hrefs if href.startswith("http"))
    return [
        path
        for path in paths
        if path.startswith((f"/t/{slug}/", "/account/")) and not path.startswith(LEFT_OUT)
    ]


def _tabs(page: Page) -> list[tuple[str, str]]:
    """Return label and address of the other tabs of this very page."""
    tabs: list[list[str]] = page.eval_on_selector_all(
        ".tabs a:not([aria-current])",
        "tabs => tabs.map((tab) => [tab.textContent, new URL(tab.getAttribute('href'), location)])"
        ".filter(([, url]) => url.pathname === location.pathname)"
        ".map(([label, url]) => [label.trim().split(/\\s/)[0].toLowerCase(), url.href])",
    )
    return [(label, address) for label, address in tabs]


def _name_of(address: str) -> str:
    from django.urls import Resolver404, resolve

    try:
        return resolve(address).view_name
    except Resolver404:
        return "not-found"


def main(only: list[str]) -> int:
    """Take all pictures; return 1 when something was noticed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    FOLDER.mkdir(exist_ok=True)
    with running_product() as product, chromium() as browser:
        add_tenants(product)
        scan_example(product)
        album = Album(product, only)
        album.signed_out(browser)
        for slug in (EXAMPLE, EMPTY, HOSTILE):
            album.tenant(browser, slug)
        if any(": 500 " in line for line in album.noticed):
            print(product.log.read_text()[-8000:], file=sys.stderr)
    missing = sorted(page_names() - album.seen)
    print(f"\nNo picture (no page, or no link leads there): {', '.join(missing) or 'none'}")
    print("\n".join(["Noticed:", *album.noticed] if album.noticed else ["Nothing noticed."]))
    return 1 if album.noticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
