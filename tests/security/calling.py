"""Makes one call as somebody, notes what it wrote, and leaves no trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection, transaction
from django.http.response import StreamingHttpResponse
from django.test import Client
from django.urls import NoReverseMatch, reverse

from monitoring.recording.environments import forget_environments
from tenants.tokens import forget_cached_tokens
from tests.security.addresses import Address
from tests.security.rules import Entry, Values
from tests.security.world import Actor
from tests.tenants.factories import without_csrf

# Instants, how long ago they were, and what is signed together with them.
_CHANGING = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d(?::|%3A)\d\d(?::|%3A)\d\d[.\d]*"
    r"|\d\d:\d\d(?::\d\d)?(?= UTC)|\b\d+ \w+ ago|just now|a moment ago"
    r'|(?<=value=")[\w-]{40,}:[\w-]+:[\w-]{40,}'
    # Where an empty list says from when on something would be new.
    r"|(?<=since=)[\w-]{22}"
)
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_WRITE = re.compile(r'^\s*(?:INSERT INTO|UPDATE|DELETE FROM|COPY|TRUNCATE)\s+"?(\w+)', re.I)
BOOKKEEPING = frozenset({"tenants_session", "tenants_apitoken", "tenants_bucket"})
"""Tables that any call may touch: when a session and a token were used last, limits of tries."""

AUDIT = "tenants_auditevent"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and the tables that were written on the way."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wrote: frozenset[str]

    @property
    def changed(self) -> frozenset[str]:
        return self.wrote - BOOKKEEPING

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]

    def told(self, *echoed: object) -> tuple[int, str, str]:
        """Status, place and text, without what differs each time and what the caller had said."""
        text = _CHANGING.sub("…", without_csrf(self.body.decode("utf-8", "replace")))
        place = self.headers.get("Location", "").partition("?next=")[0]
        for said in sorted(
            {str(one) for one in echoed if len(str(one)) > 4}, key=len, reverse=True
        ):
            for form in (said, quote(said, safe="")):
                text = text.replace(form, "§")
                place = place.replace(form, "§")
        return self.status, place, text


def path_of(address: Address, entry: Entry, slug: str, named: Values) -> str:
    """The address' path for these ids."""
    values = {name: value for name, value in entry.fixed.items() if name != "?"} | dict(named)
    if entry.has_slug:
        values["slug"] = slug
    if address.has_name:
        try:
            return reverse(address.key, kwargs=values)
        except NoReverseMatch as error:
            raise AssertionError(f"the entry of {address.key} does not fit its route") from error
    if address.is_machine:
        return "/api/no/such/address"
    path = address.route.replace("<path:object_id>", quote(str(values.get("object_id", ""))))
    return "/" + path.replace("(?P<url>.*)$", str(values.get("url", "")))


def call(
    actor: Actor,
    method: str,
    path: str,
    *,
    query: Values | None = None,
    data: Any = None,
    is_json: bool = False,
    enforce_csrf: bool = False,
) -> Answer:
    """Make the call; whatever it changed is undone."""
    client = Client(raise_request_exception=False, enforce_csrf_checks=enforce_csrf)
    if actor.session:
        client.cookies[settings.SESSION_COOKIE_NAME] = actor.session
    if method not in UNSAFE:
        body, kind = b"", ""
    elif is_json:
        body, kind = json.dumps(data, default=str).encode(), "application/json"
    else:
        body, kind = urlencode(data or {}, doseq=True).encode(), "application/x-www-form-urlencoded"
    forget_cached_tokens()
    forget_environments()
    with _undone(), _noting_writes() as wrote:
        response = client.generic(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            body,
            content_type=kind,
            headers=dict(actor.headers),
        )
        if isinstance(response, StreamingHttpResponse):
            content = b"".join(response.streaming_content)
        else:
            content = response.content
    return Answer(response.status_code, dict(response.items()), content, frozenset(wrote))


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def _noting_writes() -> Iterator[set[str]]:
    wrote: set[str] = set()

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if found := _WRITE.match(str(sql)):
            wrote.add(found[1].lower())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield wrote
