"""`{% load ui %}`: the words and drawings of `tenants.ui`, and what the frame of a page asks."""

from __future__ import annotations

from typing import Any, Final

from django import template
from django.http import HttpRequest, QueryDict
from django.template import Context, Node, NodeList
from django.template.base import FilterExpression, Parser, Token
from django.template.context import RequestContext
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from tenants.memberships import memberships_of
from tenants.models import Membership, User
from tenants.navigation import MenuEntry, menu_for, place_of
from tenants.notices import Notice, notices
from tenants.ui import drawings, icons, numbers, times

register = template.Library()

for word in (
    *(numbers.duration, numbers.thousands, numbers.percent, numbers.filesize),
    *(times.ago, times.day, times.exact, times.clock, times.timestamp, times.datetime_local),
    icons.status_word,
):
    register.filter(word.__name__, word)
for drawing in (
    *(numbers.took, times.time_presets, times.zone_name, icons.icon, icons.status_icon),
    *(drawings.sparkline, drawings.meter, drawings.change, drawings.axis_marks),
):
    register.simple_tag(drawing, name=drawing.__name__)


@register.simple_tag(takes_context=True)
def hidden_query(context: RequestContext, *without: str) -> SafeString:
    """Carry the address' parameters through a GET form, `without` those that the form sets."""
    query: QueryDict = context["request"].GET
    pairs = [(k, v) for k, values in query.lists() if k not in without for v in values]
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', pairs)


@register.simple_tag
def address(view_name: str, *args: Any) -> str:
    """Return an address as `url` does, or "" where no such page exists (menus show what exists)."""
    try:
        return reverse(view_name, args=args)
    except NoReverseMatch:
        return ""


@register.simple_tag(takes_context=True)
def place(context: RequestContext) -> Membership | None:
    """Return the membership whose tenant the page's frame is about."""
    request: HttpRequest | None = context.get("request")
    return place_of(request) if request is not None else None


@register.simple_tag
def page_notices() -> list[Notice]:
    """Return what stands above every page."""
    return notices()


@register.simple_tag(takes_context=True)
def menu(context: RequestContext, membership: Membership | None) -> tuple[MenuEntry, ...]:
    """Return the menu of the membership's tenant."""
    request: HttpRequest | None = context.get("request")
    return tuple(menu_for(request, membership)) if request is not None else ()


@register.simple_tag(takes_context=True)
def own_memberships(context: RequestContext) -> list[Membership]:
    """Return where the signed-in person is a member, for the tenant switcher."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    return memberships_of(user) if isinstance(user, User) else []


@register.tag
def kept(parser: Parser, token: Token) -> Node:
    """`{% kept pages user.name %}…{% endkept %}`: render once for the same values.

    For parts of every page's frame whose text follows from the values alone, which must be hashable.
    """
    values = [parser.compile_filter(word) for word in token.split_contents()[1:]]
    body = parser.parse(("endkept",))
    parser.delete_first_token()
    return KeptNode(values, body)


class KeptNode(Node):
    """Remembers what its body said, of the last values up to `MOST_KEPT`."""

    def __init__(self, values: list[FilterExpression], nodelist: NodeList) -> None:
        self.values, self.nodelist = values, nodelist
        self._said: dict[tuple[Any, ...], SafeString] = {}

    def render(self, context: Context) -> SafeString:
        key = tuple(value.resolve(context) for value in self.values)
        said = self._said.get(key)
        if said is None:
            with context.push(csrf_token=_NoToken()):
                said = self.nodelist.render(context)
            if len(self._said) >= MOST_KEPT:
                self._said = {}
            self._said[key] = said
        return said


class _NoToken:
    """Stands for the token against forged requests, which is one person's and must not be kept."""

    def __str__(self) -> str:
        raise TypeError("A form with a token stands in {% kept %}.")


MOST_KEPT: Final = 256
