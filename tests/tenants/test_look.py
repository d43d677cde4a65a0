"""What the language of the pages promises: contrast, budgets, nothing inline."""

from __future__ import annotations

import re
from itertools import pairwise
from math import cos, radians, sin
from pathlib import Path

import pytest
from django.conf import settings

STATIC = Path(settings.STATICFILES_DIRS[0])
# Mails are no pages: no policy holds for them, and they carry their styles along.
TEMPLATES = sorted(
    path
    for path in Path(settings.TEMPLATES[0]["DIRS"][0]).rglob("*.html")
    if path.parent.name != "mail"
)
CSS = (STATIC / "css" / "app.css").read_text(encoding="utf-8")
TOKENS = dict(re.findall(r"--([a-z-]+): ((?:light-dark|var)\(.+?\));\n?", CSS))

Colour = tuple[float, float, float]


def colour(token: str, theme: str) -> Colour:
    """Return a token's colour as linear sRGB."""
    value = TOKENS[token]
    if alias := re.fullmatch(r"var\(--([a-z-]+)\)", value):
        return colour(alias[1], theme)
    shades = re.findall(r"oklch\(([\d.]+)% ([\d.]+) ([\d.]+)\)", value)
    assert len(shades) == 2, f"--{token} needs a light and a dark colour: {value}"
    lightness, chroma, hue = map(float, shades[theme == "dark"])
    return oklch_to_linear_srgb(lightness / 100, chroma, hue)


def oklch_to_linear_srgb(lightness: float, chroma: float, hue: float) -> Colour:
    """Convert by Björn Ottosson's matrices (CSS Color 4); clipped to sRGB."""
    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    return tuple(min(max(part, 0.0), 1.0) for part in (red, green, blue))  # type: ignore[return-value]


def contrast(one: Colour, other: Colour) -> float:
    """Return the ratio of WCAG 2.2, 1 to 21."""
    light, dark = sorted(
        (0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


GROUNDS = ("bg", "surface", "raised", "sunken")
STATUSES = (
    *("success", "failed", "partial", "pending", "running", "waiting", "canceled", "skipped"),
    *("retrying", "critical", "warning", "info"),
)
TONES = ("accent", "good", "bad", "warn")
TEXT_ON = [
    *((text, ground) for text in ("text", "muted", *TONES) for ground in GROUNDS),
    *((tone, f"{tone}-soft") for tone in TONES),
    *((text, f"{tone}-soft") for text in ("text", "muted") for tone in TONES),
    ("on-accent", "accent"),
    ("on-bad", "bad"),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_has_a_contrast_of_at_least_4_5(text: str, ground: str, theme: str) -> None:
    ratio = contrast(colour(text, theme), colour(ground, theme))
    assert ratio >= 4.5, f"--{text} on --{ground} ({theme}) has {ratio:.2f}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("status", STATUSES)
def test_shapes_of_status_have_a_contrast_of_at_least_3(status: str, theme: str) -> None:
    for ground in (*GROUNDS, "accent-soft"):
        ratio = contrast(colour(status, theme), colour(ground, theme))
        assert ratio >= 3, f"--{status} on --{ground} ({theme}) has {ratio:.2f}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_borders_of_fields_have_a_contrast_of_at_least_3(theme: str) -> None:
    assert contrast(colour("line-strong", theme), colour("surface", theme)) >= 3


def test_every_token_that_is_used_exists() -> None:
    known = set(re.findall(r"--([a-z0-9-]+):", CSS))
    scripts = "".join(p.read_text(encoding="utf-8") for p in (STATIC / "js").glob("*.js"))
    assert set(re.findall(r"var\(--([a-z0-9-]+)", CSS + scripts)) - known == set()


def test_own_css_and_js_stay_in_their_budget() -> None:
    assert sum(p.stat().st_size for p in (STATIC / "css").glob("*.css")) < 40 * 1024
    sizes = {p.name: p.stat().st_size for p in (STATIC / "js").glob("*.js")}
    later = re.findall(r'import\("\./([a-z-]+\.js)"\)', (STATIC / "js/app.js").read_text())
    assert set(later) == {"brush.js", "charts.js", "json-tree.js"}
    # No page has more than one of those that come where they are needed.
    always = sum(sizes.values()) - sum(sizes[name] for name in later)
    assert always + max(sizes[name] for name in later) < 60 * 1024


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_template_holds_nothing_that_the_policy_blocks(template: Path) -> None:
    source = template.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle\s*=", source), "a style attribute is blocked by style-src 'self'"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", source), "a handler attribute is blocked"
    assert "<style" not in source
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", source, re.DOTALL):
        assert "src=" in attributes, "a script without src is blocked"
        assert not content.strip()
    assert not re.search(r"(?:src|srcset)\s*=\s*[\"'](?:https?:)?//", source)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: "/".join(path.parts[-3:]))
def test_every_icon_that_a_template_names_is_in_the_sprite(template: Path) -> None:
    sprite = (STATIC / "icons" / "sprite.svg").read_text(encoding="utf-8")
    symbols = set(re.findall(r'<symbol id="([a-z-]+)"', sprite))
    named = set(re.findall(r'{% icon "([a-z-]+)"', template.read_text(encoding="utf-8")))
    assert named - symbols == set()


def test_vendored_files_are_listed_with_version_and_licence() -> None:
    readme = (STATIC / "vendor" / "README.md").read_text(encoding="utf-8")
    for file in (STATIC / "vendor").iterdir():
        if file.name != "README.md":
            assert file.name in readme, f"{file.name} is missing in static/vendor/README.md"


def test_headings_of_the_style_sheet_come_once() -> None:
    headings = re.findall(r"/\* -+ (.+?) -+ \*/", CSS)
    assert len(headings) > 10
    assert all(first != second for first, second in pairwise(sorted(headings)))
