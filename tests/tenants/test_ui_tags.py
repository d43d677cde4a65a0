"""The words and drawings of every page (tenants/ui, templates/components)."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.template import Context, Template
from django.utils import timezone
from django.utils.safestring import SafeString

from tenants.templatetags import ui
from tenants.ui import drawings, icons, markup, numbers, times

THIN = numbers.THIN_SPACE


def rendered(source: str, **context: Any) -> str:
    return Template("{% load ui %}" + source).render(Context(context))


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0 ms"),
        (0.4, "0 ms"),
        (840, "840 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (12_431, "12.4 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 00 s"),
        (187_000, "3 min 07 s"),
        (3_599_400, "59 min 59 s"),
        (3_599_600, "1 h 00 min"),
        (7_500_000, "2 h 05 min"),
        (86_399_999, "1 d 00 h"),
        (273_600_000, "3 d 04 h"),
        (-1_500, "−1.5 s"),
    ],
)
def test_durations_are_said_as_people_say_them(milliseconds: float | None, said: str) -> None:
    assert numbers.duration(milliseconds) == said


@pytest.mark.parametrize(
    ("number", "digits", "said"),
    [
        (None, 0, "–"),
        (0, 0, "0"),
        (999, 0, "999"),
        (12_431, 0, f"12{THIN}431"),
        (1_234_567.891, 2, f"1{THIN}234{THIN}567.89"),
        (-0.001, 1, "0.0"),
        (-1_500, 0, f"−1{THIN}500"),
    ],
)
def test_digits_are_grouped_by_thin_spaces(number: float | None, digits: int, said: str) -> None:
    assert numbers.thousands(number, digits) == said


def test_an_unknown_rate_is_a_dash_and_never_zero() -> None:
    assert numbers.percent(None) == "–"
    assert numbers.percent(0.0) == "0.0 %"
    assert numbers.percent(1.34) == "1.3 %"


@pytest.mark.parametrize(
    ("count", "said"),
    [(None, "–"), (820, "820 B"), (12_698, "12.4 KB"), (5 * 2**20, "5.0 MB"), (2**31, "2.0 GB")],
)
def test_bytes_are_said_in_the_unit_that_fits(count: int | None, said: str) -> None:
    assert numbers.filesize(count) == said


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=2), "now"),
        (timedelta(seconds=40), "40 s ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=6), "6 d ago"),
        (timedelta(seconds=-301), "in 5 min"),
    ],
)
def test_recent_moments_are_relative(before: timedelta, said: str) -> None:
    assert times.ago(timezone.now() - before) == said


def test_old_moments_are_dates_in_the_active_zone() -> None:
    moment = datetime(2020, 12, 31, 23, 30, tzinfo=UTC)
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert times.ago(moment) == "1 Jan 2021"
        assert times.exact(moment) == "Fri 1 Jan 2021, 00:30:00 Europe/Berlin"
        assert times.clock(moment) == "1 Jan 2021 00:30:00"
        assert times.datetime_local(moment) == "2021-01-01T00:30"


def test_a_moment_carries_its_exact_time_for_people_and_machines() -> None:
    moment = timezone.now() - timedelta(minutes=2)
    html = times.timestamp(moment)
    assert f'datetime="{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"' in html
    assert f'title="{times.exact(moment)}"' in html
    assert html.endswith("data-relative>2 min ago</time>")
    assert times.timestamp(None) == "–"


@pytest.mark.parametrize(
    ("before_now", "shown"),
    [
        (timedelta(minutes=59), r"data-relative>59 min ago</time>$"),
        (timedelta(hours=3), r'>3 h ago</time> <span class="muted">16:00</span>$'),
        (timedelta(hours=20), r'\(20 h ago\)">20 Nov 23:00</time>$'),
        (timedelta(days=300), r'">25 Jan 19:00</time>$'),
        (timedelta(days=330), r'">26 Dec 2025 19:00</time>$'),
    ],
)
def test_a_moment_in_a_list_has_its_time_of_day_after_an_hour(
    monkeypatch: pytest.MonkeyPatch, before_now: timedelta, shown: str
) -> None:
    now = datetime(2026, 11, 21, 18, tzinfo=UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert re.search(shown, str(times.timestamp(now - before_now, "both")))


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("UTC", "UTC"),
        ("Asia/Kolkata", "Asia/Kolkata (UTC+5:30)"),
        ("Africa/Abidjan", "Africa/Abidjan (UTC)"),
    ],
)
def test_the_zone_is_named_with_its_distance(zone: str, name: str) -> None:
    with timezone.override(ZoneInfo(zone)):
        assert times.zone_name() == name


@pytest.mark.parametrize("status", sorted(icons.STATUS_LABELS))
def test_every_status_has_a_shape_of_its_own_and_a_word(status: str) -> None:
    from django.contrib.staticfiles import finders

    path = finders.find("icons/sprite.svg")
    assert path is not None
    with open(path, encoding="utf-8") as sprite:  # noqa: PTH123
        symbols = sprite.read().split("<symbol ")
    shapes = {s.split('"')[1]: s.split(">", 1)[1] for s in symbols[1:]}
    assert status in shapes
    assert [name for name, shape in shapes.items() if shape == shapes[status]] == [status]
    html = rendered('{% include "components/status.html" %}', status=status)
    assert f"#{status}" in html
    assert icons.STATUS_LABELS[status] in html


def test_an_unknown_status_is_shown_as_text_and_nothing_else() -> None:
    html = rendered('{% include "components/status.html" %}', status='<b>"x')
    assert "#unknown" in html
    assert "&lt;b&gt;&quot;x" in html
    assert "<b>" not in html


def test_a_sparkline_breaks_at_missing_values() -> None:
    html = drawings.sparkline([1, 2, None, 3, None, 4, 5], label="Failures per hour")
    assert html.count("<polyline") == 2
    assert html.count("<circle") == 2, "a dot for the lonely value, one for the last"
    assert 'aria-label="Failures per hour"' in html


@pytest.mark.parametrize("values", [[], [None, None]])
def test_a_sparkline_without_data_is_a_dash(values: list[float | None]) -> None:
    assert "–" in drawings.sparkline(values)


def test_a_sparkline_stays_in_its_box_whatever_comes() -> None:
    html = drawings.sparkline([0, 0, 0])
    assert "nan" not in html
    low = drawings.sparkline([-5, 5], height=24)
    ys = [float(pair.split(",")[1]) for pair in low.split('points="')[1].split('"')[0].split()]
    assert all(0 <= y <= 24 for y in ys)


@pytest.mark.parametrize(
    ("difference", "better", "tone", "arrow"),
    [
        (0.9, "down", "bad", "arrow-up"),
        (-0.9, "down", "good", "arrow-down"),
        (3, "", "", "arrow-up"),
    ],
)
def test_a_change_is_coloured_only_when_good_is_known(
    difference: float, better: str, tone: str, arrow: str
) -> None:
    html = drawings.change(difference, better=better)
    assert f'class="change {tone}"' in html
    assert arrow in html


def test_no_change_and_no_comparison_are_said_in_words() -> None:
    assert "unchanged" in drawings.change(0.04)
    assert "no comparison" in drawings.change(None)


def test_bars_of_a_waterfall_never_leave_their_track_and_are_never_invisible() -> None:
    for starts, lasts in ((0, 0), (50, 100), (100, 5), (-10, 5), (99.99, 0)):
        bar = drawings.bar(starts, lasts, 100)
        left, width = (float(side.rstrip("%")) for side in (bar.x, bar.width))
        assert 0 <= left < 100
        assert width >= 0.35
        assert left + width <= 100.01


def test_a_menu_entry_without_a_page_is_no_address() -> None:
    assert ui.address("monitoring:not-built-yet") == ""


class Sample(forms.Form):
    name = forms.CharField(help_text="Shown to all.")
    mail = forms.EmailField(required=False)
    agree = forms.BooleanField(required=False)
    kind = forms.ChoiceField(choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)


def test_a_field_names_its_help_and_errors_for_screen_readers() -> None:
    html = rendered(
        "{% for field in form %}{% include 'components/field.html' %}{% endfor %}",
        form=Sample({"name": "", "mail": "x"}),
    )
    for described in ('id="id_name_helptext"', 'id="id_name_error"', 'id="id_mail_error"'):
        assert described in html
    assert 'aria-invalid="true"' in html
    assert 'value="x"' in html, "what was typed is kept"
    assert "<legend" in html


HOSTILE = "<script>alert(1)</script>\"' onload=x"


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (
            "kpi",
            {"label": HOSTILE, "value": HOSTILE, "unit": HOSTILE, "hint": HOSTILE, "note": HOSTILE},
        ),
        (
            "empty",
            {"title": HOSTILE, "text": HOSTILE, "code": HOSTILE, "url": HOSTILE, "action": HOSTILE},
        ),
        ("code_block", {"code": HOSTILE, "label": HOSTILE}),
        ("copy_button", {"value": HOSTILE, "label": HOSTILE}),
        ("hint", {"text": HOSTILE}),
        ("pagination", {"summary": HOSTILE, "newer_url": HOSTILE}),
        (
            "confirm",
            {"id": "x", "title": HOSTILE, "text": HOSTILE, "word": HOSTILE, "button": HOSTILE},
        ),
        ("json_tree", {"url": HOSTILE, "name": HOSTILE, "download_url": HOSTILE, "size": 3}),
        ("chart", {"url": HOSTILE, "title": HOSTILE, "note": HOSTILE}),
        (
            "waterfall",
            {
                "whole_ms": 100,
                "rows": [
                    {
                        "name": HOSTILE,
                        "status": "failed",
                        "bars": [drawings.bar(1, 2, 100)],
                        "note": HOSTILE,
                        "is_selected": False,
                        "attempts": 1,
                        "duration_ms": 2,
                        "url": HOSTILE,
                    }
                ],
            },
        ),
    ],
)
def test_components_show_hostile_text_as_text(name: str, context: dict[str, Any]) -> None:
    html = rendered("{% include template %}", template=f"components/{name}.html", **context)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    assert "\"' onload" not in html


def test_a_get_form_carries_the_other_parameters_and_escapes_them(rf: Any) -> None:
    from django.template import RequestContext

    request = rf.get("/", {"status": ["failed", 'a"><b>'], "range": "7d"})
    html = Template('{% load ui %}{% hidden_query "range" %}').render(RequestContext(request))
    assert html.count('name="status"') == 2
    assert "range" not in html
    assert "<b>" not in html
    assert isinstance(html, SafeString)


def test_a_kept_part_is_rendered_once_for_the_same_values() -> None:
    template = Template("{% load ui %}{% kept a b %}{{ a }}{{ other }}{% endkept %}")
    said = [
        template.render(Context({"a": a, "b": (1,), "other": other}))
        for a, other in (("x", 1), ("x", 2), ("y", 3))
    ]
    assert said == ["x1", "x1", "y3"]


def test_a_kept_part_can_hold_nobodys_token() -> None:
    template = Template("{% load ui %}{% kept %}<form>{% csrf_token %}</form>{% endkept %}")
    with pytest.raises(TypeError, match="token"):
        template.render(Context({"csrf_token": "secret"}))


@pytest.mark.parametrize("text", ["", "plain", "a < b", "x & y", "it's", 'say "so"', "<b>&'\"</b>"])
def test_text_is_escaped_as_the_library_does(text: str) -> None:
    assert markup.escaped(text) == html.escape(text)


@pytest.mark.parametrize(("whole", "marks"), [(0.4, 1), (1, 1), (3, 3), (5, 5), (61_000, 5)])
def test_no_two_marks_of_an_axis_say_the_same(whole: float, marks: int) -> None:
    said = [text for _, text in drawings.axis_marks(whole)]
    assert len(said) == len(set(said)) == marks
