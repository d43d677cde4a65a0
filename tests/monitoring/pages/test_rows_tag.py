"""`{% rows %}` says what Django's `{% for %}` says, or refuses when the template is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from django.template import Context, Engine, TemplateSyntaxError
from hypothesis import given
from hypothesis import strategies as st

ENGINE = Engine(
    libraries={
        "rows": "monitoring.templatetags.rows",
        "ui": "tenants.templatetags.ui",
    }
)


@dataclass
class Inner:
    said: str


@dataclass
class Row:
    name: str
    number: int | None
    flag: bool
    inner: list[Inner] = field(default_factory=list)


BODIES = [
    "100 % plain",
    '<b title="{{ row.name }}">{{ row.name }}</b> {{ row.number }}',
    '{{ row.name|default:"–" }} {{ row.number|thousands }} {{ row.number|percent:2 }}',
    "{% if row.flag %}yes{% elif row.number is not None %}{{ row.number }}{% else %}no{% endif %}",
    "{% if row.flag and not row.number %}a{% endif %}{% if row.flag >= 1 or row.number == 3 %}b{% endif %}",
    '{% if row.name == "x" %}x{% endif %}{% if row.number != None %}n{% endif %}',
    "{% for one in row.inner %}<i>{{ one.said }} of {{ row.name }}</i>{% endfor %}",
    '{% took row.number %}{% status_icon "failed" row.flag %}{% meter row.number 9 tone="bad" %}',
]
TEXT = st.text(st.sampled_from("ax<>&\"'% é"), max_size=8)
ROWS = st.lists(
    st.builds(
        Row,
        TEXT,
        st.none() | st.integers(0, 900),
        st.booleans(),
        st.lists(st.builds(Inner, TEXT), max_size=2),
    ),
    max_size=3,
)


@pytest.mark.parametrize("body", BODIES)
@given(items=ROWS)
def test_it_says_what_for_says(body: str, items: list[Row]) -> None:
    compiled = ENGINE.from_string(
        "{% load rows ui %}{% rows items as row %}" + body + "{% endrows %}"
    )
    usual = ENGINE.from_string("{% load ui %}{% for row in items %}" + body + "{% endfor %}")
    assert compiled.render(Context({"items": items})) == usual.render(Context({"items": items}))


@pytest.mark.parametrize(
    "body",
    [
        "{{ other }}",
        "{{ row.name|force_escape|truncatewords_html:2|linebreaks }}",
        "{% if row.name in other %}x{% endif %}",
        "{% csrf_token %}",
        '{% include "components/empty.html" %}',
        "{% for a, b in row.inner %}{{ a }}{% endfor %}",
        "{% time_presets as presets %}",
    ],
)
def test_what_needs_a_context_is_refused_when_the_template_is_read(body: str) -> None:
    with pytest.raises(TemplateSyntaxError):
        ENGINE.from_string("{% load rows ui %}{% rows items as row %}" + body + "{% endrows %}")


def test_a_list_that_is_missing_has_no_rows() -> None:
    template = ENGINE.from_string("{% load rows %}[{% rows nothing as row %}x{% endrows %}]")
    assert template.render(Context()) == "[]"
