"""The document and the page tell exactly what answers, and their examples are true."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from monitoring.api import examples
from monitoring.api.endpoints import OPERATIONS, Operation, pattern_of
from monitoring.api.openapi import document
from tenants.models import Membership, Role, Tenant, User
from tests.monitoring.api.conftest import Api

ANSWERS = [(entry, answer) for entry in OPERATIONS for answer in entry.answers]


def api_routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        route = prefix + str(each.pattern).removeprefix("^")
        if isinstance(each, URLResolver):
            yield from api_routes(each.url_patterns, route)
        else:
            yield route, each


def test_document_and_addresses_say_the_same() -> None:
    """Every address under /api/ is in the document with its methods, and nothing else is."""
    answering = {
        route: set(getattr(each.callback, "api_methods", {"GET": None}))
        for route, each in api_routes(get_resolver().url_patterns)
        if route.startswith("api/") and each.name
    }
    documented = {
        pattern_of(path).removeprefix("^"): {method.upper() for method in methods}
        for path, methods in document()["paths"].items()
    }
    assert documented == answering


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    components = document()["components"]
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', text):
        assert name in components[kind]
    assert re.fullmatch(r"3\.1\.\d", document()["openapi"])


def test_operation_ids_are_unique_and_places_described() -> None:
    operations = [each for methods in document()["paths"].values() for each in methods.values()]
    ids = [each["operationId"] for each in operations]
    assert len(ids) == len(set(ids))
    assert all(each["summary"] and each["tags"] for each in operations)
    for path, methods in document()["paths"].items():
        for each in methods.values():
            places = {one["name"] for one in each["parameters"] if one["in"] == "path"}
            assert places == set(re.findall(r"\{(\w+)\}", path))


@pytest.mark.parametrize(
    ("entry", "answer"),
    ANSWERS,
    ids=[f"{entry.method} {entry.path} {answer.status}" for entry, answer in ANSWERS],
)
def test_examples_of_answers_fit_their_types(entry: Operation, answer: Any) -> None:
    value = msgspec.convert(answer.example, answer.type)
    told = json.loads(msgspec.json.encode(value))
    missing = set(told) - set(answer.example) if isinstance(told, dict) else set()
    assert not missing, "the example leaves fields out"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "entry", [each for each in OPERATIONS if each.body], ids=lambda entry: entry.path
)
def test_examples_of_bodies_are_taken(api: Api, entry: Operation) -> None:
    assert entry.body is not None
    for example in entry.body.examples.values():
        answer = api.send(entry.method, entry.path.format(workflow_id="w"), example)
        assert answer.status_code == entry.answers[0].status
        shown = set(answer.json())
        assert shown == set(entry.answers[0].example)


@pytest.mark.django_db
def test_limits_are_those_of_the_settings(api: Api, settings: Any) -> None:
    found = api.get("/api/limits")
    assert found["limits"]["batch_lines"] == settings.LIMITS.batch_lines
    ingest = {"execution", "short-log", "batch", "n8n-error-workflow", "heartbeat", "ping"}
    ingest |= {"partial-updates", "idempotency-key"}
    told = set(found["capabilities"])
    assert {word.removeprefix("ingest.") for word in told if word.startswith("ingest.")} == ingest
    assert {"encoding.gzip", "encoding.zstd"} <= told


def test_every_path_of_push_has_a_capability() -> None:
    """A client asks for the word before it uses the path."""
    pushes = [each for each in OPERATIONS if each.access and each.access.scope == "ingest"]
    ends = ("/start", "/fail")
    assert all(each.capability for each in pushes if not each.path.endswith(ends))


@pytest.mark.django_db
def test_any_valid_token_may_ask_for_the_limits(tenant: Tenant) -> None:
    from tests.monitoring.api.conftest import api_for

    assert "limits" in api_for(tenant, "ingest").get("/api/limits")


def test_the_document_is_open_to_everybody() -> None:
    answer = Client().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(document()))


class Links(HTMLParser):
    """Collects what a page loads and refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.inline = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag in ("script", "img", "link") and (address := given.get("src") or given.get("href")):
            self.loaded.append(address)
        elif tag == "a" and (given.get("href") or "").startswith("#"):
            self.targets.append((given["href"] or "")[1:])
        self.inline += "style" in given or (tag == "script" and "src" not in given)


@pytest.mark.django_db
@pytest.mark.parametrize("signed_in", [False, True])
def test_the_page_shows_every_call_and_loads_nothing_foreign(
    client: Client, tenant: Tenant, signed_in: bool
) -> None:
    if signed_in:
        person = User.objects.create_user(email="a@example.com", password="right-horse-battery")
        Membership.objects.create(tenant=tenant, user=person, role=Role.VIEWER)
        client.force_login(person)
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    page = answer.content.decode()
    for entry in OPERATIONS:
        assert entry.path in page
        assert f"-X {entry.method}" in page or entry.method == "GET"
    links = Links(page)
    assert all(address.startswith("/") for address in links.loaded)
    assert links.inline == 0
    assert set(links.targets) <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))
    assert page.count("data-copy-text") == 2 * len(OPERATIONS)


def test_the_page_shows_calls_of_the_last_hour_in_words_of_users(client: Client) -> None:
    page = client.get("/api/docs").content.decode()
    started = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    assert f"{started:%Y-%m-%dT%H}" in page or started.minute == 0
    assert examples.STARTED not in page
    assert "equirement 0" not in page
    assert "equirement 0" not in json.dumps(document())


@pytest.mark.django_db
def test_the_answer_of_the_batch_is_that_of_its_call(api: Api) -> None:
    [entry] = [each for each in OPERATIONS if each.path == "/api/executions/batch"]
    assert entry.body is not None
    [example] = entry.body.examples.values()
    answer = api.post(entry.path, example).json()
    shown = entry.answers[0].example
    assert answer["summary"] == shown["summary"]
    assert [each | {"id": ""} for each in answer["results"]] == [
        each | {"id": ""} for each in shown["results"]
    ]


def test_the_guide_names_every_address_and_no_other() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    named = {path for path in re.findall(r"`(/api/[^`\s]*)`", guide) if "…" not in path}
    assert named == {each.path for each in OPERATIONS}
