"""The product's addresses, and a page that shows the interactive parts with data of its own."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import RequestContext, Template
from django.urls import include, path

SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
STEPS = [f"2026-11-21T{hour:02}:00:00+01:00" for hour in range(24)]

PAGE = """
{% extends "base.html" %}{% load ui %}
{% block content %}
  <h1>Parts</h1>
  {% include "components/chart.html" with url="/parts/bars" title="Executions" only %}
  {% include "components/chart.html" with url="/parts/lines" title="Duration" only %}
  {% include "components/chart.html" with url="/parts/nothing" title="Nothing" size="short" only %}
  {% include "components/chart.html" with url="/parts/broken" title="Broken" size="short" only %}
  <section class="card" id="tree">
    {% include "components/json_tree.html" with url="/parts/json" name="Input" only %}
  </section>
  <table class="table"><tbody>
    <tr data-href="#first"><td class="lead"><a href="#first">First</a></td></tr>
    <tr data-href="#second"><td class="lead"><a href="#second">Second</a></td></tr>
  </tbody></table>
  <div class="grid-wrap" id="wide" tabindex="0" data-scroll-end><pre>{{ "wide"|ljust:"900" }}</pre></div>
  {% include "components/code_block.html" with code="curl it" label="Paste" only %}
  <a class="btn" href="/parts/form" data-modal-link>Add an hour</a>
  <a class="btn" href="/parts/done" data-modal-link>No page</a>
  <form method="post" action="/parts/done" data-confirm="It goes away.">
    <button class="btn danger">Delete it</button>
  </form>
{% endblock %}
"""

FORM_PAGE = """
{% extends "base.html" %}{% load ui %}
{% block content %}
  <div class="page-head"><h1>New hour</h1></div>
  <div class="card"><div class="card-body">
    {% include "components/form.html" with form=form submit="Add" cancel_url="/parts/" %}
  </div></div>
  <form method="post" data-confirm="It ends.">
    {% csrf_token %}<button class="btn danger">End it</button>
  </form>
{% endblock %}
"""


class HourForm(forms.Form):
    """One number that can be wrong."""

    hour = forms.IntegerField(max_value=23)


def page(request: HttpRequest) -> HttpResponse:
    """Show all parts."""
    return HttpResponse(Template(PAGE).render(RequestContext(request)))


def bars(request: HttpRequest) -> JsonResponse:
    """Two series with a gap, hostile names, links."""
    known = [None if 5 <= hour < 10 else hour for hour in range(24)]
    return JsonResponse(
        {
            "kind": "bars",
            "x": STEPS,
            "series": [
                {"name": "success", "tone": "success", "values": known},
                {"name": SCRIPT, "tone": 'failed"><b>', "values": known},
            ],
            "links": [f"/parts/done?hour={hour}" for hour in range(24)],
            "marks": [{"x": "2026-11-21T20:40:00+01:00", "label": SCRIPT}],
        }
    )


def lines(request: HttpRequest) -> JsonResponse:
    """Milliseconds with a lonely value."""
    values: list[int | None] = [None] * 24
    values[0:3], values[12] = [900, 187_000, 2_000], 400
    series = [{"name": "p95", "tone": "warn", "values": values}]
    return JsonResponse({"kind": "lines", "x": STEPS, "unit": "ms", "series": series})


def nothing(request: HttpRequest) -> JsonResponse:
    """Answer a range without data."""
    return JsonResponse({"kind": "bars", "x": [], "series": []})


def broken(request: HttpRequest) -> HttpResponse:
    """Fail as a database that is away does."""
    return HttpResponse(status=503)


def data(request: HttpRequest) -> HttpResponse:
    """Answer data that is large and hostile, with marks and a number beyond doubles."""
    rows = [{"id": i, "street": f"Street {i}"} for i in range(2_000)]
    answer = JsonResponse(
        {
            "html": SCRIPT,
            SCRIPT: 1,
            "__proto__": {"polluted": True},
            "secret": "Bearer [scrubbed:bearer:3f9a]",
            "cut": {"__truncated__": {"bytes": 2_097_152, "kept": 5, "text": "[1, 2"}},
            "long": "lorem ipsum " * 200,
            "exact": 12345678901234567890,
            "rows": rows,
        }
    )
    return HttpResponse(answer.content, content_type="application/json")


def form(request: HttpRequest) -> HttpResponse:
    """Show a form; say what arrived when it was right."""
    shown = HourForm(request.POST if "hour" in request.POST else None)
    if request.method == "POST" and (not shown.is_bound or shown.is_valid()):
        return HttpResponse(f"hour {shown.cleaned_data['hour'] if shown.is_bound else 'ended'}")
    return HttpResponse(Template(FORM_PAGE).render(RequestContext(request, {"form": shown})))


def done(request: HttpRequest) -> HttpResponse:
    """Say that an act or a click arrived."""
    return HttpResponse("arrived")


urlpatterns = [
    path("parts/", page),
    path("parts/bars", bars),
    path("parts/lines", lines),
    path("parts/nothing", nothing),
    path("parts/broken", broken),
    path("parts/json", data),
    path("parts/form", form),
    path("parts/done", done),
    path("", include("config.urls")),
]
