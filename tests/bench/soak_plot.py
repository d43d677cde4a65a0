"""The soak's samples as a picture, drawn by Plotly in a headless browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.bench.site import ROOT
from tests.browser.chromium import chromium

_SIZE: Final = {"width": 1100, "height": 1150}
_PLOTLY: Final = ROOT / "static/vendor/plotly-basic-4.1.1.min.js"


def draw(document: dict[str, Any], file: Path) -> None:
    """Write a PNG: posts, pages, memory and queues over the minutes."""
    figure = {"data": list(_lines(document)), "layout": _layout(document)}
    with chromium() as browser:
        page = browser.new_page(viewport=_SIZE)  # type: ignore[arg-type]
        page.set_content("<body style='margin:0'><div id='plot'></div></body>")
        page.add_script_tag(path=_PLOTLY)
        page.evaluate(f"Plotly.newPlot('plot', {json.dumps(figure)})")
        page.screenshot(path=file)


def _lines(document: dict[str, Any]) -> list[dict[str, Any]]:
    windows, samples, visits = document["windows"], document["samples"], document["visits"]

    def line(name: str, panel: int, at: list[float], values: list[float]) -> dict[str, Any]:
        axis = "y" if panel == 1 else f"y{panel}"
        minutes = [seconds / 60 for seconds in at]
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": minutes,
            "y": values,
            "yaxis": axis,
        }

    of_posts = [window["at"] for window in windows]
    of_pages = [visit["at"] for visit in visits]
    return [
        line("posts, p50", 1, of_posts, [window["p50"] for window in windows]),
        line("posts, p99", 1, of_posts, [window["p99"] for window in windows]),
        line("posts, errors in 15 s", 1, of_posts, [window["errors"] for window in windows]),
        line("pages, p50", 2, of_pages, [visit["p50"] for visit in visits]),
        line("pages, p99", 2, of_pages, [visit["p99"] for visit in visits]),
        line("pages, errors in a minute", 2, of_pages, [visit["errors"] for visit in visits]),
        line("web", 3, samples["at"], samples["web_mb"]),
        line("worker", 3, samples["at"], samples["worker_mb"]),
        line("PostgreSQL", 3, samples["at"], samples["postgres_mb"]),
        line("tables of queues", 4, samples["at"], samples["queues_mb"]),
    ]


def _layout(document: dict[str, Any]) -> dict[str, Any]:
    titles = ("ms (posts)", "ms (pages)", "MB of memory", "MB of queues")
    axes = {
        f"yaxis{number if number > 1 else ''}": {
            "title": {"text": title},
            "rangemode": "tozero",
            "domain": [1 - number * 0.25 + 0.035, 1 - (number - 1) * 0.25 - 0.01],
        }
        for number, title in enumerate(titles, 1)
    }
    return {
        "title": {"text": f"{document['rate']:,.0f} posts/s, 80 % of the maximum, with ten people"},
        "xaxis": {"title": {"text": "minutes"}, "anchor": "y4", "rangemode": "tozero"},
        "height": _SIZE["height"],
        **axes,
    }
