"""The table of operations as people read it: by subject, with a call to copy."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from monitoring.api import examples
from monitoring.api.bodies import NDJSON
from monitoring.api.endpoints import OPERATIONS, Operation
from monitoring.api.openapi import access_in_words, subjects
from monitoring.api.parameters import Parameter

_PLACE = re.compile(r"\{(\w+)\}")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d)?")
_CODE = re.compile(r"`([^`]*)`")
_IN_PATH = {
    "workflow_id": "orders-intake",
    "execution_id": "exec-1001",
    "incident_id": "12",
    "scan_id": "7",
    "other_id": "6",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation on the page; `description` as `paragraphs` gives it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: list[list[tuple[str, bool]]]
    parameters: list[Parameter[Any]]
    call: str
    answer_label: str
    answer_text: str


@dataclass(frozen=True, slots=True)
class Section:
    """The operations about one subject."""

    name: str
    anchor: str
    operations: list[Shown]


def sections(origin: str) -> list[Section]:
    """All operations by subject; `origin` is the address of this server."""
    return [
        Section(
            name=name,
            anchor=_anchor(name),
            operations=[_shown(each, origin) for each in OPERATIONS if each.subject == name],
        )
        for name in subjects()
    ]


def paragraphs(text: str) -> list[list[tuple[str, bool]]]:
    """Paragraphs of (words, whether they are code); emphasis is left out."""
    return [
        [(part, number % 2 == 1) for number, part in enumerate(_CODE.split(block)) if part]
        for block in text.replace("**", "").split("\n\n")
        if block
    ]


def _shown(entry: Operation, origin: str) -> Shown:
    answer = entry.answers[0]
    is_json = answer.content_type == "application/json"
    return Shown(
        anchor=_anchor(f"{entry.method} {entry.path}"),
        method=entry.method,
        path=entry.path,
        summary=entry.summary,
        description=paragraphs(f"{entry.description}\n\n{access_in_words(entry)}"),
        parameters=[*entry.query, *entry.headers],
        call=_recent(call_of(entry, origin)),
        answer_label=f"Answer {answer.status}",
        answer_text=_recent(_pretty(answer.example) if is_json else answer.example),
    )


def call_of(entry: Operation, origin: str) -> str:
    """A line for a shell that makes the call; the token comes from $FLOWWATCH_TOKEN."""
    words = ["curl"]
    if entry.method != "GET":
        words.append(f"-X {entry.method}")
    if entry.access is not None:
        words.append('-H "Authorization: Bearer $FLOWWATCH_TOKEN"')
    path = _PLACE.sub(lambda match: _IN_PATH[match[1]], entry.path)
    lines = [" ".join([*words, shlex.quote(origin + path)])]
    if entry.body is not None:
        content_type = entry.body.content_types[0]
        [example, *_] = entry.body.examples.values()
        is_lines = content_type == NDJSON
        text = "\n".join(map(json.dumps, example)) if is_lines else _pretty(example)
        lines.append(f"-H 'Content-Type: {content_type}'")
        lines.append(f"--data-binary {shlex.quote(text)}")
    return " \\\n  ".join(lines)


def _recent(text: str) -> str:
    """An example as if it had started an hour ago: a copied call must show up in the pages."""
    now = timezone.now().replace(second=0, microsecond=0)
    shift = now - dt.timedelta(hours=1) - dt.datetime.fromisoformat(examples.STARTED)

    def moved(found: re.Match[str]) -> str:
        moment = dt.datetime.fromisoformat(found[0]).replace(tzinfo=dt.UTC) + shift
        return moment.astimezone(dt.UTC).isoformat()[: len(found[0])]

    return _MOMENT.sub(moved, text)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
