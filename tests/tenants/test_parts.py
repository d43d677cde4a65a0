"""Parts of pages by the element that HTMX names."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from tenants import parts
from tenants.parts import render_part

PARTS = {"list": "list_part"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "page.html"),
        ({"HX-Target": "list"}, "page.html#list_part"),
        ({"HX-Target": "list_part"}, "page.html"),
        ({"HX-Target": "<script>"}, "page.html"),
    ],
)
def test_the_element_decides_what_is_rendered(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], expected: str
) -> None:
    def render(request: object, template: str, context: object, status: int) -> HttpResponse:
        return HttpResponse(template, status=status)

    monkeypatch.setattr(parts, "render", render)
    request = RequestFactory().get("/", headers=headers)
    answer = render_part(request, "page.html", {}, PARTS, status=422)
    assert (answer.content.decode(), answer.status_code) == (expected, 422)
    assert answer["Vary"] == "HX-Target", "a cache keeps page and part apart"
