"""The tabs of the settings."""

from django import template
from django.template.context import RequestContext

from tenants.navigation import MenuEntry
from tenants.settings_menu import setting_pages_for

register = template.Library()


@register.simple_tag(takes_context=True)
def setting_pages(context: RequestContext) -> list[MenuEntry]:
    """Return the settings that the person may see."""
    request = context["request"]
    return setting_pages_for(request.membership, request.path)
