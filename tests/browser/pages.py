"""Every page that a person can open, from the URL resolver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import reverse

from alerts import links
from tests.browser.hostile_site import HostileSite
from tests.security.addresses import all_addresses

# Not pages: programs' addresses, and those that only act (tests/security tries them all).
_PROGRAMS = ("^", "health/", "internal/")
_ACTS = frozenset(
    {
        "sign-out", "account-theme", "session-end", "token-revoke", "member-role", "member-remove",
        "member-invite-again", "monitoring:ingest-token", "monitoring:executions-delete",
        "monitoring:connect-python-token",
        "monitoring:bulk-job-cancel", "admin:logout", "admin:autocomplete", "admin:jsi18n",
        "admin:view_on_site", "admin:login", "admin:password_change",
        "monitoring:view-save", "monitoring:view-delete",
        # Files, and JSON for scripts that the pages load themselves.
        "monitoring:executions-export", "monitoring:execution-data", "monitoring:search",
        "monitoring:overview-chart", "monitoring:workflow-chart-durations",
        "monitoring:workflow-chart-executions", "monitoring:workflow-suggestions",
        "monitoring:retention-cancel",
        "alerts:act", "alerts:preview", "alerts:renew-secret", "alerts:send-again", "alerts:test",
        "alerts:switch-on",
        "scheduling:removal-run", "scheduling:scan-cancel", "scheduling:scan-start",
        "scheduling:schedule-delete", "scheduling:status-try-again",
    }
)  # fmt: skip


def page_addresses(site: HostileSite) -> Iterator[str]:
    """One address of each page, with things of this tenant."""
    values: Mapping[str, Any] = {
        "slug": site.tenant.slug,
        "execution_id": site.many_nodes,
        "workflow_id": site.workflows[0],
        "environment_id": site.environment.pk,
        "job_id": site.job.pk,
        "tenant_id": site.tenant.pk,
        "app_label": "tenants",
        "uid": "MQ",
        "token": links.token(site.ids["incident_id"], "reader@example.com"),
        **site.ids,
    }
    for address in all_addresses():
        if address.key in _ACTS or address.route.startswith(_PROGRAMS) or not address.has_name:
            continue
        wanted = {name: value for name, value in values.items() if f":{name}>" in address.route}
        if "<app_label>" in address.route:
            wanted["app_label"] = "tenants"
        if ":object_id>" in address.route:
            wanted["object_id"] = _object_of(address.key, site)
        yield reverse(address.key, kwargs=wanted)
    yield reverse("monitoring:api-docs")


def _object_of(key: str, site: HostileSite) -> int:
    """The thing that a page of the admin is about."""
    things = {
        "tenant": site.tenant.pk,
        "user": site.member.user_id,
        "apitoken": site.token.pk,
        "auditevent": site.event.pk,
        "environment": site.environment.pk,
        "workflow": site.workflows[0],
    }
    model = key.removeprefix("admin:").split("_")[1]
    assert model in things, f"say in tests/browser/pages.py what {key} is about"
    return int(things[model])
