"""A browser for the tests beside this file; they are skipped, and say so, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from playwright.sync_api import Browser, expect

from tests.browser.chromium import NAMES, PATIENCE_MS, chromium, executable

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is collected here, and skip it on a machine without Chromium."""
    reason = f"no Chromium: install one of {', '.join(NAMES)} to run the browser tests"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if executable() is None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this process; each test opens a context of its own."""
    with pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop in this thread, where Django then refuses to query.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        expect.set_options(timeout=PATIENCE_MS)
        with chromium() as started:
            yield started


@pytest.fixture
def cached_static_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let WhiteNoise serve scripts and styles, as in production: a browser then keeps them.

    The live server's own handler is asked again for each of them on each page.
    """
    monkeypatch.setattr(StaticFilesHandler, "_should_handle", lambda handler, path: False)
