"""What axe-core finds on a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")


def serious_findings(page: Page, *rules: str) -> list[str]:
    """Return one line for each serious or critical finding of axe-core, with where it is.

    `rules` limits it to those ("color-contrast"); by default all are asked.
    """
    options = {"runOnly": list(rules)} if rules else None
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{finding['id']}: {finding['help']} at {_where(finding['nodes'])}"
        for finding in found
        if finding["impact"] in SERIOUS
    ]


def _where(nodes: list[dict[str, object]], most: int = 3) -> str:
    shown = ", ".join(str(node["target"]) for node in nodes[:most])
    return shown if len(nodes) <= most else f"{shown} and {len(nodes) - most} more"
