"""What axe-core finds on a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")


_SCRIPT = Axe().axe_script
# What is asked of axe: nothing for lists of what is fine, and no style sheets or media fetched again
# (only a rule about turned screens that is off by default, and one about sounds, want them).
_OPTIONS = {"resultTypes": ["violations"], "preload": False}
_RUN = """async (options) => (await axe.run(options)).violations.map(
  ({ id, help, impact, nodes }) => ({ id, help, impact, nodes: nodes.map(({ target }) => ({ target })) }))"""


def serious_findings(page: Page, *rules: str) -> list[str]:
    """Return one line for each serious or critical finding of axe-core, with where it is.

    `rules` limits it to those ("color-contrast"); by default all are asked.
    """
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(_SCRIPT)
    options = _OPTIONS | ({"runOnly": list(rules)} if rules else {})
    return [
        f"{finding['id']}: {finding['help']} at {_where(finding['nodes'])}"
        for finding in page.evaluate(_RUN, options)
        if finding["impact"] in SERIOUS
    ]


def _where(nodes: list[dict[str, object]], most: int = 3) -> str:
    shown = ", ".join(str(node["target"]) for node in nodes[:most])
    return shown if len(nodes) <= most else f"{shown} and {len(nodes) - most} more"
