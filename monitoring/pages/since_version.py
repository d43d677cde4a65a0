""" "Since version 8" in the time range of a workflow: found when somebody asks, not on each page."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from monitoring.pages.time_range import RangeLink
from monitoring.recent import first_with_version, last_executions, version_changes
from tenants.times import utc_text

ASKED: Final = "version"
"""`?since=version` stands for the time since the newest version of the workflow was first seen."""

LOOK_BACK: Final = dt.timedelta(days=90)
STEP: Final = dt.timedelta(hours=6)


def since_version_link(request: HttpRequest, label: str) -> RangeLink:
    """The entry of the time range control."""
    params = request.GET.copy()
    params["since"] = ASKED
    return RangeLink(label, f"?{params.urlencode()}")


def led_to_version(request: HttpRequest, workflow_id: int) -> HttpResponse | None:
    """Lead `?since=version` to the address with that start, which means the same tomorrow."""
    if request.GET.get("since") != ASKED:
        return None
    params = request.GET.copy()
    for name in ("since", "range", "start", "end", "before", "after"):
        params.pop(name, None)
    if start := since_newest_version(workflow_id):
        params["start"] = utc_text(start)
    return redirect(f"{request.path}?{params.urlencode()}")


def since_newest_version(workflow_id: int) -> dt.datetime | None:
    """When the version of a workflow's last execution began; 90 days ago when it ran before then.

    None: that execution says no version.
    """
    last = last_executions([workflow_id]).get(workflow_id)
    if last is None or last.version is None:
        return None
    oldest = timezone.now() - LOOK_BACK
    edges = [oldest]
    while edges[-1] + STEP < last.started_at:
        edges.append(edges[-1] + STEP)
    # The last execution is a look of its own: a version that came after the last step began.
    edges += [last.started_at, last.started_at + dt.timedelta(milliseconds=1)]
    changes = [each for each in version_changes(workflow_id, edges) if each.version == last.version]
    if not changes:
        return oldest
    newest = changes[-1]
    return first_with_version(workflow_id, last.version, newest.after, newest.seen_at)
