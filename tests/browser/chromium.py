"""The system's Chromium, as every browser test and the pictures start it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Dialog, Error, Page, Request, Response, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000.0
"""How long a page may take to be as expected; the machine may be busy with other tests."""
PARTS_OF_EVERY_PAGE = ("script", "stylesheet")
QUIET_MS = 100


def executable() -> str | None:
    """Return the path of the first browser found, None when this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser (without its sandbox only as root, where it refuses one)."""
    path = executable()
    if path is None:
        raise RuntimeError(f"No Chromium on this machine: install one of {', '.join(NAMES)}.")
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(FLAGS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=flags, timeout=2 * PATIENCE_MS
        )
        try:
            yield browser
        finally:
            browser.close()


class Traffic:
    """What a page has asked for and not got yet."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._open: set[Request] = set()
        # (Playwright takes no methods of built-in types.)
        page.on("request", lambda request: self._open.add(request))
        page.on("requestfinished", lambda request: self._open.discard(request))
        page.on("requestfailed", lambda request: self._open.discard(request))

    def open(self, address: str) -> Response | None:
        """Open an address; return when all that it loads by itself is there and drawn.

        Playwright's "networkidle" waits half a second on each page. Here it is enough that nothing
        is asked for, at two looks, and that no chart or tree in view still loads.
        """
        self._open.clear()
        answer = self._page.goto(address, wait_until="load")
        while True:
            self._page.wait_for_function(_NOTHING_IS_LOADING)
            self._page.wait_for_timeout(QUIET_MS)
            if not self._open and self._page.evaluate(_NOTHING_IS_LOADING):
                return answer


# What lies below the window is loaded when it comes into view.
_NOTHING_IS_LOADING = """() => !document.querySelector(".htmx-request") &&
  [...document.querySelectorAll("[data-busy]")].every((one) => {
    const box = one.getBoundingClientRect();
    return !box.width || box.top > innerHeight || box.bottom < 0;
  })"""


def watch(page: Page) -> list[str]:
    """Return a list that fills with what must never happen on a page.

    Those are: script errors, violations of the content security policy, dialogs of the browser,
    requests to another host, answers of 500 and more, scripts and styles that did not arrive.
    """
    seen: list[str] = []

    def note_violation(said: str) -> None:
        seen.append(said)

    page.expose_function("__violated", note_violation)
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', (e) => window.__violated("
        "`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`))"
    )

    def note_error(error: Error) -> None:
        seen.append(f"script: {error}")

    def refuse(dialog: Dialog) -> None:
        seen.append(f"a dialog of the browser: {dialog.message}")
        dialog.dismiss()

    def note_request(request: Request) -> None:
        if not _is_local(request.url):
            seen.append(f"another host: {request.url}")

    def note_answer(answer: Response) -> None:
        needed = answer.request.resource_type in PARTS_OF_EVERY_PAGE
        if answer.status >= (400 if needed else 500):
            seen.append(f"{answer.status} {answer.url}")

    def note_failure(request: Request) -> None:
        # A page that is left ends its requests itself.
        if request.resource_type in PARTS_OF_EVERY_PAGE and request.failure != "net::ERR_ABORTED":
            seen.append(f"{request.failure} {request.url}")

    page.on("pageerror", note_error)
    page.on("dialog", refuse)
    page.on("request", note_request)
    page.on("response", note_answer)
    page.on("requestfailed", note_failure)
    return seen


def _is_local(url: str) -> bool:
    """Whether `url` is on a loopback address (tests serve from nowhere else) or on no host."""
    return url.startswith(("http://127.0.0.1", "http://localhost", "data:", "about:", "blob:"))
