"""Every address as everybody: who gets in, what is refused, and that nothing of others gets out.

The addresses come from the URL resolver, so a new one fails until `entries.py` says who may use it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Manager
from pytest_django.plugin import DjangoDbBlocker

from tenants.lifecycle import suspend
from tenants.models import Membership, Tenant
from tenants.scoping import TenantManager
from tests.security.addresses import Address, all_addresses
from tests.security.calling import AUDIT, UNSAFE, Answer, call, path_of
from tests.security.entries import ENTRIES
from tests.security.rules import Api, Call, Entry, Open, Values, nothing
from tests.security.world import OTHER_MARKER, OWN_MARKER, Actor, Ids, World, build_world

ADDRESSES = all_addresses()
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
INSIDERS = ("viewer", "owner", "token read", "token write", "token ingest")


def each(
    wanted: Callable[[Entry, Address], object] = lambda entry, address: True,
) -> pytest.MarkDecorator:
    """Run a test for every address whose entry is wanted (and fail for those without one)."""
    chosen = [a for a in ADDRESSES if a.key not in ENTRIES or wanted(ENTRIES[a.key], a)]
    return pytest.mark.parametrize("address", chosen, ids=lambda address: address.key)


def is_api(entry: Entry, address: Address | None = None) -> bool:
    return any(isinstance(said.rule, Api) for said in entry.calls.values())


def names_something(entry: Entry, address: Address) -> bool:
    """Whether a tenant's id is in its path; operators see all, so theirs don't count."""
    return not address.is_admin and (entry.has_slug or entry.names[0] is not nothing)


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all tests here, in a transaction that is rolled back; calls undo themselves."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield build_world()
        transaction.set_rollback(True)


def entry_of(address: Address) -> Entry:
    entry = ENTRIES.get(address.key)
    if entry is None:
        pytest.fail(f"{address.key} ({address.route}) has no entry in tests/security/entries.py")
    return entry


def test_every_address_has_one_entry_and_every_entry_an_address() -> None:
    counted = Counter(address.key for address in ADDRESSES)
    assert [key for key, count in counted.items() if count > 1] == [], "two routes with one name"
    assert sorted(counted.keys() - ENTRIES.keys()) == [], "addresses without an entry"
    assert sorted(ENTRIES.keys() - counted.keys()) == [], "entries without an address"


@each()
def test_everybody_gets_what_the_table_says(world: World, address: Address) -> None:
    entry = entry_of(address)
    wrong = []
    for method, said in entry.calls.items():
        for named in entry.names:
            for actor in world.actors.values():
                answer = _own(world, address, entry, actor, method, said, named(world.own))
                wrong += [
                    f"{method} {address.key} as {actor.name}: {trouble}"
                    for trouble in _troubles(address, entry, said, method, actor, answer)
                ]
    assert not wrong, "\n" + "\n".join(wrong)


def _own(
    world: World,
    address: Address,
    entry: Entry,
    actor: Actor,
    method: str,
    said: Call,
    named: Values,
) -> Answer:
    query = dict(entry.fixed.get("?", {}))
    if actor.names_tenant and isinstance(said.rule, Api):
        query["tenant"] = world.own.slug
    path = path_of(address, entry, world.own.slug, named)
    data = said.data(world.own)
    return call(actor, method, path, query=query, data=data, is_json=entry.is_json)


def _troubles(
    address: Address, entry: Entry, said: Call, method: str, actor: Actor, answer: Answer
) -> Iterator[str]:
    """What is wrong with an answer about the own tenant."""
    refusal = said.rule.refusal(actor)
    expected = said.statuses if refusal is None else (refusal,)
    if answer.status not in expected:
        yield f"answers {answer.status}, not {' or '.join(map(str, expected))}: {answer.body[:300]!r}"
    elif refusal is not None and answer.changed:
        yield f"is refused and yet writes {sorted(answer.changed)}"
    elif refusal is None and method in UNSAFE and not said.unaudited and AUDIT not in answer.wrote:
        yield "changes something without a row in the audit log"
    sees_own = actor.role is not None or actor.is_staff or (actor.scopes and not actor.answers)
    if not sees_own and OWN_MARKER.encode() in answer.body:
        yield "an outsider sees the tenant's data"
    if OTHER_MARKER.encode() in answer.body and not _may_see_other(address, actor):
        yield "sees another tenant's data"
    yield from _missing_headers(address, entry, actor, answer)


def _may_see_other(address: Address, actor: Actor) -> bool:
    """Operators in the admin; members of the other tenant in what names their tenants (the menu)."""
    return (actor.is_staff and address.is_admin) or actor.name in (
        "owner of the other", "member of both",
    )  # fmt: skip


# --- parts of pages -------------------------------------------------------------------------------
_IDS = re.compile(r'<[a-z][^<>]* id="([^"]*)"')
_LABELS = re.compile(r'<label[^<>]* for="([^"]*)"')


@each(lambda entry, address: "GET" in entry.calls)
def test_ids_of_a_page_are_its_own_and_labels_name_one(world: World, address: Address) -> None:
    """A click on a word would else act on another field."""
    entry = entry_of(address)
    actor = world.actors["operator of all" if address.is_admin else "owner"]
    answer = _own(
        world, address, entry, actor, "GET", entry.calls["GET"], entry.names[0](world.own)
    )
    if answer.content_type != "text/html":
        return
    page = answer.body.decode()
    ids = Counter(_IDS.findall(page))
    assert [one for one, count in ids.items() if count > 1] == [], "ids that are there twice"
    assert sorted({*_LABELS.findall(page)} - ids.keys()) == [], "labels of nothing"


# --- headers --------------------------------------------------------------------------------------
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _missing_headers(address: Address, entry: Entry, actor: Actor, answer: Answer) -> Iterator[str]:
    for name, value in _ALWAYS.items():
        if answer.headers.get(name) != value:
            yield f"{name} is {answer.headers.get(name)!r}, not {value!r}"
    yield from _policy_gaps(answer.headers.get("Content-Security-Policy", ""))
    is_private = (actor.session or actor.headers) and not entry.public
    if is_private and not _stays_out_of_caches(answer.headers.get("Cache-Control", "")):
        yield f"Cache-Control is {answer.headers.get('Cache-Control')!r}: caches could keep it"
    is_problem = answer.content_type == "application/problem+json"
    if address.is_machine and answer.status >= 400 and not is_problem:
        yield f"an error of the API is {answer.content_type}, not a problem"


def _policy_gaps(policy: str) -> Iterator[str]:
    directives = {
        words[0]: words[1:] for part in policy.split(";") if (words := part.strip().split())
    }
    fallback = directives.get("default-src", [])
    is_sandboxed = "sandbox" in directives
    for name in ("script-src", "style-src", "object-src"):
        sources = directives.get(name, fallback)
        allowed = {"'none'"} if name == "object-src" else {"'none'", "'self'"}
        if not sources or not set(sources) <= allowed:
            yield f"the policy's {name} is {sources}"
    if directives.get("frame-ancestors") != ["'none'"]:
        yield "the policy lets others frame it"
    for name, wanted in (("base-uri", "'none'"), ("form-action", "'self'")):
        if not is_sandboxed and directives.get(name) != [wanted]:
            yield f"the policy's {name} is {directives.get(name)}"


def _stays_out_of_caches(cache_control: str) -> bool:
    said = {part.strip() for part in cache_control.split(",")}
    return "no-store" in said or ("private" in said and bool(said & {"no-cache", "max-age=0"}))


# --- other methods --------------------------------------------------------------------------------
@each()
def test_methods_that_are_not_in_the_table_do_nothing(world: World, address: Address) -> None:
    entry = entry_of(address)
    wrong = []
    for method in sorted({*METHODS, "HEAD", "OPTIONS"} - entry.calls.keys()):
        for name in ("nobody", "owner", "operator of all", "token write"):
            path = path_of(address, entry, world.own.slug, entry.names[0](world.own))
            query = entry.fixed.get("?", {})
            answer = call(world.actors[name], method, path, query=query, is_json=entry.is_json)
            if method in ("HEAD", "OPTIONS"):
                fine = answer.status < 500 and not answer.changed and not (
                    method == "HEAD" and answer.body
                )  # fmt: skip
            else:
                # Django's admin shows the page itself to methods that it does not know.
                refused = {301, 302, 403, 404, 405, 410}
                also = {401} if address.is_machine else {200} if address.is_admin else set()
                fine = not answer.changed and answer.status in refused | also
            if not fine:
                wrong.append(f"{method} {address.key} as {name}: {answer.status}, {answer.changed}")
    assert not wrong, "\n" + "\n".join(wrong)


@each(lambda entry, address: "GET" in entry.calls)
def test_head_is_get_without_a_body(world: World, address: Address) -> None:
    entry = entry_of(address)
    name = "operator of all" if address.is_admin else "owner"
    path = path_of(address, entry, world.own.slug, entry.names[0](world.own))
    query = entry.fixed.get("?", {})
    got, head = (call(world.actors[name], method, path, query=query) for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (got.status, b"")


@each(lambda entry, address: entry.calls.keys() & UNSAFE)
def test_unsafe_calls_by_session_need_the_csrf_token(world: World, address: Address) -> None:
    entry = entry_of(address)
    wrong = []
    for method in sorted(entry.calls.keys() & UNSAFE):
        for name in ("owner", "operator of all"):
            if isinstance(entry.calls[method].rule, Open) and address.is_machine:
                continue
            path = path_of(address, entry, world.own.slug, entry.names[0](world.own))
            answer = call(
                world.actors[name],
                method,
                path,
                data=entry.calls[method].data(world.own),
                is_json=entry.is_json,
                enforce_csrf=True,
            )
            expected = (403, 404) if address.is_machine and name != "owner" else (403,)
            if answer.status not in expected or answer.changed:
                wrong.append(f"{method} {address.key} as {name}: {answer.status} {answer.changed}")
    assert not wrong, "\n" + "\n".join(wrong)


# --- other tenants' ids ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Mixture:
    """Ids of two tenants in one path, and the same with an unknown one in the place of theirs."""

    name: str
    slugs: tuple[str, str]
    ids: tuple[Values, Values]


@each(names_something)
def test_anothers_ids_in_the_path_are_unknown_ids(world: World, address: Address) -> None:
    """Own parent with a foreign child, foreign parent with an own child, all foreign: all alike."""
    entry = entry_of(address)
    wrong = []
    for method, said in entry.calls.items():
        for named in entry.names:
            for mixture in _mixtures(world, entry, named):
                for actor in map(world.actors.__getitem__, INSIDERS):
                    answers = [
                        _inside(world, address, entry, actor, method, said, slug, ids)
                        for slug, ids in zip(mixture.slugs, mixture.ids, strict=True)
                    ]
                    wrong += [
                        f"{method} {address.key} with {mixture.name} as {actor.name}: {trouble}"
                        for trouble in _told_apart(
                            answers, mixture, said, actor, made=method in entry.makes
                        )
                    ]
    # Whoever is in both tenants may not mix them, either.
    both = world.actors["member of both"]
    for method, said in entry.calls.items():
        for named in entry.names:
            if named is nothing or method in entry.makes:
                continue
            answer = _inside(
                world, address, entry, both, method, said, world.own.slug, named(world.other)
            )
            if answer.status != 404 or answer.changed:
                wrong.append(f"{method} {address.key} as {both.name}: {answer.status}")
    assert not wrong, "\n" + "\n".join(wrong)


def _inside(
    world: World,
    address: Address,
    entry: Entry,
    actor: Actor,
    method: str,
    said: Call,
    slug: str,
    named: Values,
) -> Answer:
    """A call with somebody's ids, made in the own tenant."""
    query = {"tenant": world.own.slug} if actor.names_tenant and isinstance(said.rule, Api) else {}
    path = path_of(address, entry, slug, named)
    return call(actor, method, path, query=query, data=said.data(world.own), is_json=entry.is_json)


def _mixtures(world: World, entry: Entry, named: Callable[[Ids], Values]) -> Iterator[Mixture]:
    own, other, nobodys = world.own, world.other, world.nobodys
    children = named(other), named(nobodys)
    if named is not nothing:
        yield Mixture("a foreign child", (own.slug, own.slug), children)
    if entry.has_slug:
        parents = other.slug, nobodys.slug
        yield Mixture("a foreign parent", parents, (named(own), named(own)))
        yield Mixture("all foreign", parents, children)


def _told_apart(
    answers: list[Answer], mixture: Mixture, said: Call, actor: Actor, *, made: bool
) -> Iterator[str]:
    """How the answer about a foreign id differs from that about an unknown one, or does harm.

    With `made`, both are new names in the own tenant.
    """
    foreign, unknown = answers
    if OTHER_MARKER.encode() in _without(foreign.body, *mixture.ids[0].values()):
        yield "sees another tenant's data"
    if made:
        if foreign.status != unknown.status:
            yield f"{foreign.status} tells it from an unknown id's {unknown.status}"
        return
    if said.rule.refusal(actor) is None and foreign.status != 404:
        yield f"answers {foreign.status}, not 404"
    if foreign.changed:
        yield f"writes {sorted(foreign.changed)}"
    told = [
        answer.told(*mixture.slugs, *ids.values())
        for answer, ids in zip(answers, mixture.ids, strict=True)
    ]
    if told[0] != told[1]:
        yield f"is told from an unknown id: {_difference(str(told[0]), str(told[1]))}"


def _without(body: bytes, *said: object) -> bytes:
    """The body without what the caller had said itself."""
    for value in said:
        body = body.replace(str(value).encode(), b"")
    return body


@each(lambda entry, address: entry.probes)
def test_anothers_ids_beside_the_path_are_unknown_ids(world: World, address: Address) -> None:
    entry = entry_of(address)
    wrong = []
    for probe in entry.probes:
        asked = sorted({*probe.query(world.own), *_fields(probe.data(world.own))})
        for actor in map(world.actors.__getitem__, INSIDERS):
            told = []
            for ids in (world.other, world.nobodys):
                query, data = probe.query(ids), probe.data(ids)
                path = path_of(address, entry, world.own.slug, entry.names[0](world.own))
                answer = call(
                    actor, probe.method, path, query=query, data=data, is_json=entry.is_json
                )
                echoed = [*query.values(), *_fields(data).values()]
                if OTHER_MARKER.encode() in _without(answer.body, *echoed):
                    wrong.append(f"{address.key} {query} {data} as {actor.name}: foreign data")
                if answer.status >= 500:
                    wrong.append(f"{address.key} {query} {data} as {actor.name}: {answer.status}")
                told.append(str((answer.told(*echoed), sorted(answer.changed))))
            if told[0] != told[1]:
                wrong.append(
                    f"{probe.method} {address.key} as {actor.name}: a foreign {asked} is told from "
                    f"an unknown one: {_difference(*told)}"
                )
    assert not wrong, "\n" + "\n".join(wrong)


def _fields(data: Values | list[Any]) -> Values:
    """The fields of a body; of a list's only message."""
    return data[0] if isinstance(data, list) else data


def _difference(first: str, second: str) -> str:
    """The first place where two texts part."""
    at = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    return f"…{first[max(0, at - 60) : at + 120]!r} against …{second[max(0, at - 60) : at + 120]!r}"


@each(is_api)
def test_naming_another_tenant_is_naming_none(world: World, address: Address) -> None:
    entry = entry_of(address)
    rules = {method: said for method, said in entry.calls.items() if isinstance(said.rule, Api)}
    wrong = []
    for method, said in rules.items():
        path = path_of(address, entry, "", entry.names[0](world.own))
        for name in ("viewer", "owner", "token read", "token write", "token ingest"):
            told = []
            for tenant in (world.other.slug, world.other.location, world.nobodys.slug):
                answer = call(
                    world.actors[name],
                    method,
                    path,
                    query={"tenant": tenant},
                    data=said.data(world.own),
                    is_json=entry.is_json,
                )
                told.append((answer.told(tenant), sorted(answer.changed)))
            if told[0][0][0] != 404 or len({str(one) for one in told}) > 1:
                wrong.append(f"{method} {address.key} as {name}: {told}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_several_tenants_need_a_word_and_the_word_decides(world: World) -> None:
    both = world.actors["member of both"]
    assert call(both, "GET", "/api/workflows").status == 400
    for ids, marker, strange in (
        (world.own, OWN_MARKER, OTHER_MARKER),
        (world.other, OTHER_MARKER, OWN_MARKER),
    ):
        for name in (ids.slug, ids.location):
            answer = call(both, "GET", "/api/workflows", query={"tenant": name})
            assert answer.status == 200
            assert marker.encode() in answer.body
            assert strange.encode() not in answer.body


@pytest.mark.parametrize("name", ["viewer", "owner", "token read", "token write", "token ingest"])
def test_a_suspended_tenant_answers_its_members_and_tokens_403(world: World, name: str) -> None:
    wrong = []
    with transaction.atomic():
        suspend(Tenant.objects.get(pk=world.own.tenant))
        for address in ADDRESSES:
            entry, actor = entry_of(address), world.actors[name]
            for method, said in entry.calls.items():
                is_api = isinstance(said.rule, Api)
                if not (is_api or (entry.has_slug and actor.is_person)):
                    continue
                answer = _own(world, address, entry, actor, method, said, entry.names[0](world.own))
                if answer.status != 403 or answer.changed or OWN_MARKER.encode() in (
                    answer.body if is_api else b""
                ):  # fmt: skip
                    wrong.append(f"{method} {address.key}: {answer.status} {answer.body[:200]!r}")
        transaction.set_rollback(True)
    assert not wrong, "\n" + "\n".join(wrong)


# --- the matrix would see it ----------------------------------------------------------------------
BY_ID = (
    "monitoring:execution",
    "monitoring:workflow-clear",
    "monitoring:environment",
    "monitoring:bulk-job-cancel",
    "token-revoke",
    "member-role",
    "monitoring:api-execution",
    "monitoring:api-workflow-metrics",
)


@each(lambda entry, address: address.key in BY_ID)
def test_the_matrix_would_see_queries_without_a_tenant(
    world: World, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant: scopes that limit nothing."""
    monkeypatch.setattr(TenantManager, "get_queryset", Manager.get_queryset)
    with pytest.raises(AssertionError):
        test_anothers_ids_in_the_path_are_unknown_ids(world, address)


@each(lambda entry, address: address.key in ("tokens", "members", "monitoring:api-execution"))
def test_the_matrix_would_see_roles_that_forbid_nothing(
    world: World, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant: every member may everything."""
    monkeypatch.setattr(Membership, "may", lambda membership, role: True)
    with pytest.raises(AssertionError):
        test_everybody_gets_what_the_table_says(world, address)
