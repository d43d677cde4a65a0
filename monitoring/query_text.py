"""The query bar's text and the list's filters, in both directions.

`status:failed workflow:"Sync*" duration:>30s timed out`: terms `name:value`, apart by spaces, with
quotes around values that hold some (`\\"` and `\\\\` inside them); words without a name are looked
for in error messages. Terms can't be turned round nor chosen between: what looks like it is a problem,
never a search for that text. Values are those of the parameters in the list's address, except that an
environment stands under its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitoring.words import LOST, Status

LONGEST: Final = 2_000
_ONE_VALUE: Final = {
    "workflow": "workflow",
    "env": "environment",
    "trigger": "trigger",
    "version": "version",
    "error": "error",
    "group": "fingerprint",
    "id": "id",
    "tag": "tag",
}
"""Parameters by the names of terms that may come once."""

_OTHER_NAMES: Final = {"environment": "env", "wf": "workflow", "ver": "version"}
_NAMES: Final = ("status", "duration", *_ONE_VALUE)
_BOUNDS: Final = {"min": ">", "max": "<"}
_STATUSES: Final = (*(status.slug for status in Status), LOST)

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_TERM: Final = re.compile(rf"\s*(?:(?P<name>[^\W\d]\w*):)?(?P<value>{_QUOTED}(?=\s|$)|\S*)", re.S)
_ESCAPED: Final = re.compile(r"\\(.)", re.S)
_BOUND: Final = re.compile(r"([<>])=?\s*(.+)", re.S)
_TURNED_ROUND: Final = re.compile(r"[-!](?=[^\W\d])")
_COMPARED: Final = re.compile(
    rf"({'|'.join((*_NAMES, *_OTHER_NAMES))})(?:!?=|[<>]|!:).*", re.I | re.S
)
_BETWEEN_TERMS: Final = frozenset({"NOT", "AND", "OR", "&&", "||"})
_NEEDS_QUOTES: Final = re.compile(r'[\s"\\,]|^$|^[^\W\d]\w*:')


@dataclass(slots=True)
class ParsedQuery:
    """What a text asks for, by parameter, and what of it makes no sense, for people.

    `word` is the error's text where that is one word without name and quotes: it may be an id.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    word: str = ""


def parse_query(text: str) -> ParsedQuery:
    """Understand a query; terms that make no sense are left out of its values and named."""
    found = ParsedQuery()
    if len(text) > LONGEST:
        found.problems.append(f"A query has at most {LONGEST} letters.")
        return found
    words: list[str] = []
    for name, value in _terms(text):
        if value.startswith('"') and not re.fullmatch(_QUOTED, value, re.S):
            found.problems.append(f"{value} needs a quote at its end.")
        elif name:
            _understand(found, name, _unquoted(value))
        elif problem := _misread_word(value):
            found.problems.append(problem)
        else:
            words.append(_unquoted(value))
            found.word = "" if len(words) > 1 or value.startswith('"') else value
    if words:
        _set(found, "error", "error", " ".join(words))
    return found


def _terms(text: str) -> Iterator[tuple[str, str]]:
    for match in _TERM.finditer(text):
        if match["name"] or match["value"]:
            yield (match["name"] or "").lower(), match["value"]


def _misread_word(word: str) -> str:
    """Say why a word without a name is no text to look for; "" where it is."""
    hint = f'To look for the text, put quotes around it: "{word}".'
    if _TURNED_ROUND.match(word):
        return f"{word}: there is no way to leave something out; say what shall be there. {hint}"
    if word in _BETWEEN_TERMS:
        return f"{word} can't stand between terms: all of them must hold. {hint}"
    if named := _COMPARED.fullmatch(word):
        return f"Write {named[1].lower()}: and the value instead of {word}. {hint}"
    return ""


def _understand(found: ParsedQuery, name: str, value: str) -> None:
    name = _OTHER_NAMES.get(name, name)
    if name not in _NAMES:
        found.problems.append(
            f"There is no filter “{name}”: there are {', '.join(_NAMES)}."
            f' To look for the text, put quotes around it: "{name}:{value}".'
        )
    elif not value.strip():
        found.problems.append(f"What follows after {name}: is missing.")
    elif name == "status":
        _add_statuses(found, value)
    elif name == "duration":
        _set_bound(found, value)
    else:
        _set(found, name, _ONE_VALUE[name], value)


def _add_statuses(found: ParsedQuery, value: str) -> None:
    chosen = found.values.setdefault("status", [])
    for one in value.lower().split(","):
        if one not in _STATUSES:
            found.problems.append(f"There is no status “{one}”: there are {', '.join(_STATUSES)}.")
        elif one not in chosen:
            chosen.append(one)
    if not chosen:
        del found.values["status"]


def _set_bound(found: ParsedQuery, value: str) -> None:
    bound = _BOUND.fullmatch(value.strip())
    if bound is None:
        found.problems.append(
            f"Write duration:>{value} for at least, duration:<{value} for at most {value}."
        )
        return
    parameter = next(name for name, sign in _BOUNDS.items() if sign == bound[1])
    _set(found, f"duration:{bound[1]}", parameter, bound[2])


def _set(found: ParsedQuery, name: str, parameter: str, value: str) -> None:
    if parameter in found.values:
        found.problems.append(f"{name} is there twice; one of them can be asked for at a time.")
    else:
        found.values[parameter] = [value]


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def query_text(values: Mapping[str, Sequence[str]]) -> str:
    """Write parameters as a query that is understood as the same again."""
    terms = [f"status:{','.join(values['status'])}"] if values.get("status") else []
    terms += [
        f"{name}:{_quoted(values[parameter][-1])}"
        for name, parameter in _ONE_VALUE.items()
        if values.get(parameter) and values[parameter][-1]
    ]
    terms += [
        f"duration:{_quoted(sign + values[parameter][-1])}"
        for parameter, sign in _BOUNDS.items()
        if values.get(parameter) and values[parameter][-1]
    ]
    return " ".join(terms)


def _quoted(value: str) -> str:
    if not _NEEDS_QUOTES.search(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
