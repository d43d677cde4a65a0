"""Replaces secrets in a workflow's definition before it is stored, and tells sure ones from doubtful.

A definition is half code: `token = $json.token` names no secret, `Authorization: <TOKEN>` waits for
one, and node names stand as keys. So this is finer than `recording.scrub`, whose shapes and marks it
shares: expressions and placeholders stay readable, names of nodes keep matching, references to stored
credentials stay, and what only might be a secret gets the kind `possible-secret`, which no lint rule
complains about.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitoring.expressions import pieces_of
from monitoring.recording.scrub import VALUE_KEYS, TooDeep, scrubber

__all__ = ["DOUBTFUL", "MARK", "TooDeep", "scrub_definition"]

MARK: Final = re.compile(r"\[scrubbed:([a-z-]+):[0-9a-f]{4}\]")
"""A mark; its group is the kind of the secret."""
DOUBTFUL: Final = frozenset({"possible-secret", "card"})
"""Kinds of marks that are no proof of a secret."""

_CODE_FIELDS: Final = frozenset({"jsCode", "functionCode", "pythonCode", "code"})
# Shapes whose look alone proves nothing: the value decides.
_JUDGED: Final = frozenset(
    {"bearer", "header", "assignment", "openai-key", "key", "url-token", "spoken"}
)
_ASSIGNING: Final = frozenset({"form", "field", "element", "command"})
_SCHEME: Final = re.compile(r"^(?:bearer|basic|token|apikey|key)(?:[\s:=]+|$)", re.IGNORECASE)
# What such keys hold ends with a session or a request.
_PASSING: Final = re.compile(r"(?i)sess(?:ion)?_?-?id|^sid$|csrf|xsrf|signature|cookie|otp")
_PASSWORD: Final = re.compile(r"(?i)pass(?:word|wd|phrase)?|pwd|secret")
_PLACEHOLDER: Final = re.compile(
    r"(?i)\byour|your[_-]|replace|example|change[_ -]?me|placeholder|dummy|sample|insert[_ -]|todo|xxx"
    r"|\.\.\.|…|\*\*\*|^<[^<>]*>?$|^\[[^\]]*\]?$|enter[_ -]|put[_ -]|redacted|removed|hidden|^my[_ -]"
    r"|_here$|\$\{|\{\{|\}\}|%s|process\.env|\$env\b|\$vars\b|\$secrets\b|\$credentials\b|\$json\b"
    r"|^(?:null|none|undefined|true|false|string|text|test|password|passwort|secret|token|api_?key|key)$"
)
_ONE_CHARACTER: Final = re.compile(r"^(.)\1*$", re.DOTALL)
# Sample keys of public documentation (AWS, Stripe, jwt.io).
_DOCUMENTED: Final = (
    "AKIAIOSFODNN7EXAMPLE",
    "4eC39HqLyjWDarjtT1zdp7dc",
    "TYooMQauvdEDq54NiTphI7jx",
    "eyJzdWIiOiIxMjM0NTY3ODkwIi",
)
_SHORTEST_RANDOM: Final = 12
_RANDOM_BITS: Final = 3.2  # of entropy in a character; English words have less at such lengths
_SHORTEST_KEY_BODY: Final = 60  # a private key without its body is a template


def scrub_definition(document: Mapping[str, Any], *, depth: int) -> dict[str, Any]:
    """A copy of a definition without secrets. Raises TooDeep when nested deeper than `depth`."""
    return {_name(key): _part(key, value, depth - 1) for key, value in document.items()}


def _part(key: str, value: Any, depth: int) -> Any:
    """A part of a definition: connections hold names only, all other parts may hold anything."""
    if key in ("connections", "edges"):
        return _names(value, depth)
    if key == "activeVersion" and isinstance(value, dict):
        return {_name(inner): _part(inner, each, depth - 1) for inner, each in value.items()}
    return _walk(value, depth)


def _names(value: Any, depth: int) -> Any:
    """Values and keys that name nodes, or credentials of the provider's own store."""
    if depth <= 0 and isinstance(value, dict | list):
        raise TooDeep
    if isinstance(value, dict):
        return {_name(key): _names(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_names(each, depth - 1) for each in value]
    return _name(value) if isinstance(value, str) else value


def _name(text: str) -> str:
    return _text(text, is_code=False)


def _walk(value: Any, depth: int, *, is_code: bool = False) -> Any:
    if isinstance(value, str):
        return _text(value, is_code=is_code)
    if not isinstance(value, dict | list):
        return value
    if depth <= 0:
        raise TooDeep
    if isinstance(value, list):
        return [_item(each, depth - 1) for each in value]
    return {_name(key): each for key, each in _fields(value, depth)}


def _item(value: Any, depth: int) -> Any:
    """An item of a list; in `["Authorization", "…"]` the first is the key of the second."""
    if not scrubber().is_secret_pair(value):
        return _walk(value, depth)
    if depth <= 0:
        raise TooDeep
    return [value[0], _under_secret_key(value[0], value[1], depth - 1)]


def _fields(value: dict[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """The fields of an object; in `{name: "X-Api-Key", value: …}` the name is the key."""
    named_by = None if VALUE_KEYS.isdisjoint(value) else scrubber().secret_name(value)
    for key, each in value.items():
        if key == "credentials" and isinstance(each, dict):
            yield key, _names(each, depth - 1)
        elif named_by is not None and key in VALUE_KEYS:
            yield key, _under_secret_key(named_by, each, depth - 1)
        elif scrubber().is_secret_key(key):
            yield key, _under_secret_key(key, each, depth - 1)
        else:
            yield key, _walk(each, depth - 1, is_code=key in _CODE_FIELDS)


def _under_secret_key(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _secret_value(key, value)
    if isinstance(value, list):
        if depth <= 0:
            raise TooDeep
        return [_under_secret_key(key, each, depth - 1) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 999:
        return scrubber().mark("possible-secret", str(value))
    if isinstance(value, dict) and isinstance(value.get("value"), str):  # n8n's {"__rl", "value"}
        rest = _walk({name: each for name, each in value.items() if name != "value"}, depth)
        return {**rest, "value": _secret_value(key, value["value"])}
    return _walk(value, depth)


def _secret_value(key: str, text: str) -> str:
    """The value of a secret key; expressions and placeholders stay."""
    clean = _text(text, is_code=False)
    outside = (part for part, is_code in pieces_of(clean.removeprefix("=")) if not is_code)
    literal = _SCHEME.sub("", "".join(outside).strip())
    if not literal or MARK.search(clean) or (clean.startswith("=") and literal.startswith("$")):
        return clean
    kind = _judge(literal, is_password=_PASSWORD.search(key) is not None)
    if kind and _PASSING.search(key):
        kind = "possible-secret"
    return scrubber().mark(kind, text) if kind else clean


# --- texts ----------------------------------------------------------------------------------------


def _text(text: str, *, is_code: bool) -> str:
    if is_code:
        return scrubber().replace_secrets(text, _judge_code)
    return "".join(
        scrubber().replace_secrets(part, _judge_code if is_expression else _judge_text)
        for part, is_expression in pieces_of(text)
    )


def _judge_code(shape: str, secret: str, before: str) -> str:
    return _judge_shape(shape, secret, before, is_code=True)


def _judge_text(shape: str, secret: str, before: str) -> str:
    return _judge_shape(shape, secret, before, is_code=False)


def _judge_shape(shape: str, secret: str, before: str, *, is_code: bool) -> str:
    """As what to mark a value that has the shape of a secret; "" to leave it."""
    if _is_placeholder(secret):
        return ""
    if shape == "private-key":
        is_template = len(secret) < _SHORTEST_KEY_BODY or "your" in secret.lower()
        return "" if is_template else shape
    shape = "assignment" if shape in _ASSIGNING else shape
    if shape not in _JUDGED:
        return shape
    is_quoted = before.endswith(("'", '"'))
    if not is_quoted and (is_code or shape == "assignment") and not _is_literal(secret, is_code):
        return ""
    is_password = shape == "assignment" and is_quoted and _PASSWORD.search(before) is not None
    return _judge(secret, is_password=is_password, shape=shape)


def _is_literal(text: str, is_code: bool) -> bool:
    """Whether an unquoted value is itself, and no piece of code that computes it."""
    return not (is_code or text.startswith(("$", "(", "=")) or "(" in text)


def _judge(text: str, *, is_password: bool, shape: str = "") -> str:
    """The kind of a literal value in a secret place; "" when it is no secret."""
    if _is_placeholder(text):
        return ""
    if _is_random(text):
        return shape if shape in ("bearer", "openai-key") else "secret"
    if shape not in ("", "assignment"):
        return ""  # a sentence that has the word in it
    return "password" if is_password else "possible-secret"


def _is_placeholder(text: str) -> bool:
    return (
        _PLACEHOLDER.search(text) is not None
        or _ONE_CHARACTER.match(text) is not None
        or any(sample in text for sample in _DOCUMENTED)
    )


def _is_random(text: str) -> bool:
    """Whether it looks made by a machine: long, of digits and letters, with much entropy."""
    if len(text) < _SHORTEST_RANDOM or " " in text:
        return False
    has_digit = any(character.isdigit() for character in text)
    has_letter = any(character.isalpha() for character in text)
    return has_digit and has_letter and _entropy(text) >= _RANDOM_BITS


def _entropy(text: str) -> float:
    """Bits of entropy in a character of the text."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
