"""The time since a workflow's newest version, from the time range control."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.models import Workflow
from tests.monitoring.counted import message, record

pytestmark = pytest.mark.django_db

NOW = timezone.now().replace(microsecond=0)


def run(workflow: Workflow, versions: Iterable[tuple[dt.timedelta, str | None]]) -> None:
    """Record one execution for each (how long ago, version)."""
    messages = []
    for ago, version in versions:
        one = message(workflow, NOW - ago)
        one.version = version
        messages.append(one)
    record(*messages)


def page_of(workflow: Workflow) -> str:
    return f"/t/agency/workflows/{workflow.pk}/"


def start_of(client: Client, address: str) -> dt.datetime:
    """The start that an address leads to."""
    answer = client.get(address)
    assert answer.status_code == 302, answer.content[:200]
    params = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert not {"since", "range", "end"} & params.keys()
    return dt.datetime.fromisoformat(params["start"][0])


def hours(*numbers: float) -> list[dt.timedelta]:
    return [dt.timedelta(hours=number) for number in numbers]


def test_the_control_names_the_newest_version_and_leads_to_its_beginning(
    viewer: Client, workflow: Workflow
) -> None:
    old, new = hours(90, 71, 50.3), hours(50.2, 49, 20, 1)
    run(workflow, [*((ago, "7") for ago in old), *((ago, "8") for ago in new)])
    page = unescape(viewer.get(f"{page_of(workflow)}?range=7d").content.decode())
    assert ">Since version 8</a>" in page
    assert start_of(viewer, f"{page_of(workflow)}?range=7d&since=version") == NOW - new[0]


def test_a_version_that_came_last_of_all_is_found(viewer: Client, workflow: Workflow) -> None:
    run(workflow, [(ago, "7") for ago in hours(9, 2, 1)] + [(dt.timedelta(minutes=1), "8")])
    found = start_of(viewer, f"{page_of(workflow)}?since=version")
    assert found == NOW - dt.timedelta(minutes=1)


def test_a_version_that_came_back_begins_where_it_came_back(
    viewer: Client, workflow: Workflow
) -> None:
    ago = hours(200, 100, 30, 20, 1)
    run(workflow, zip(ago, ("7", "8", "8", "7", "7"), strict=True))
    assert start_of(viewer, f"{page_of(workflow)}?since=version") == NOW - ago[3]


def test_one_version_all_the_time_is_shown_as_far_back_as_is_looked(
    viewer: Client, workflow: Workflow
) -> None:
    run(workflow, [(ago, "7") for ago in hours(200, 1)])
    found = start_of(viewer, f"{page_of(workflow)}?since=version")
    assert found < NOW - dt.timedelta(days=89)


def test_without_versions_there_is_nothing_to_choose(viewer: Client, workflow: Workflow) -> None:
    run(workflow, [(hours(1)[0], None)])
    assert "Since version" not in viewer.get(page_of(workflow)).content.decode()
    answer = viewer.get(f"{page_of(workflow)}?since=version")
    assert answer.headers["Location"] == f"{page_of(workflow)}?"


def test_the_list_of_one_workflow_offers_it_too(viewer: Client, workflow: Workflow) -> None:
    run(workflow, zip(hours(30, 2, 1), ("7", "8", "8"), strict=True))
    address = f"/t/agency/executions/?workflow={workflow.pk}&range=7d"
    assert ">Since its newest version</a>" in viewer.get(address).content.decode()
    assert start_of(viewer, f"{address}&since=version") == NOW - dt.timedelta(hours=2)
    everything = viewer.get("/t/agency/executions/?range=7d&since=version")
    assert everything.status_code == 200
    assert "Since its newest" not in everything.content.decode()
