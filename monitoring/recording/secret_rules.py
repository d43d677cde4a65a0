"""What looks like a secret, and how it is replaced: the rules of server and Python client alike.

A secret becomes a typed mark with a keyed hash, `[scrubbed:aws-key:3f9a]`: equal secrets stay
visibly equal, and the value can't be found back. Keys decide by their name, values by their look.
All patterns run on RE2 (linear time), because senders choose the text.

The client holds a copy of this file (`make client-rules`; a test compares both), so it needs
nothing but Python 3.10 and re2.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import re2

# Words that make a key secret when they stand in it as whole words ("api_key", "apiKey",
# "X-Api-Key", but not "author" or "token_count").
_SECRET_KEY = re.compile(
    r"(?:^|_)(?:pass_?words?|passwd|pass_?phrase|pass_?code|pass|pwd|secrets?|"
    r"(?:api|access|private|secret|signing|encryption)_?keys?|auth|authorization|credentials?|tokens?|"
    r"bearer|cookies?|(?:php|j)?sess(?:ion)?_?id|csrf|xsrf|jwt|cvv|cvc|card_?numbers?|signature|pin|otp|totp|ssn)"
    # "password2", "authHeader", "passwordConfirm", "api_key_prod" say the same.
    r"_?\d*(?:_(?:header|value|hash|json|text|string|plain|raw|code|id|confirm|confirmation|repeat|again"
    r"|old|new|base64|b64|hex|pem|der|encoded|prod|production|live|test|dev|staging|sandbox|jar))*$"
    r"|^(?:connect_)?sid$"
)
# Twilio's ids of what it stores: it calls them sid, as others call a session.
_PUBLIC_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
# The same words as they may stand in a raw body: every secret key has one of them.
_TELLING_WORDS = (
    r"(?i)pass|pwd|secret|(?:api|access|private|signing|encryption)[^a-z0-9]*key|auth|credential|token"
    r"|bearer|cookie|sess(?:ion)?[^a-z0-9]*id|csrf|xsrf|jwt|(?:\"|connect)[^a-z0-9]*sid[^a-z0-9]*\"|cvv|cvc|card[^a-z0-9]*number|signature|pin"
    r"|otp|ssn|card|\"(?:[a-z0-9]*[^a-z0-9])?(?:pan|cc)[^a-z]"
)
# Counts and limits that end in a secret word are numbers people need to see.
_SAFE_KEY = re.compile(
    r"(?:^|_)(?:max|min|num|count|total|prompt|completion|input|output|next|page)_tokens?$"
)

# Shapes of secrets in any text: name of the mark -> pattern. The first group, when there is one, is
# the secret; else the whole match.
_SHAPES: dict[str, str] = {
    "private-key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    "aws-key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "github-token": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})\b",
    "slack-token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "stripe-key": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}\b",
    "google-key": r"\bAIza[0-9A-Za-z_-]{35}",
    "openai-key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "sendgrid-key": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "flowwatch-token": r"\bfw_[A-Za-z0-9]{4,16}_[A-Za-z0-9_-]{20,}",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "bearer": r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/=._~-]{12,})",
    "url-password": r"(?i)\b[a-z][a-z0-9+.-]+://[^\s/@:\"']*:([^\s/?#\"'<>]+)@",
    "url-token": r"(?i)\b[a-z][a-z0-9+.-]+://([^\s/@:?#\"'<>]+)@",
    "header": r"(?i)\b(?:set-cookie|cookie|authorization|x-api-key)\s{0,3}:\s{0,3}([^\s\"'][^\r\n\"']{3,})",
    # Also in JSON or Python inside a text ({"password": "x"}), and with words before (DB_PASSWORD=x).
    "assignment": (
        r"(?i)(?:\b|_)(?:password|passwd|pwd|secret|secret[_-]?key|api[_-]?key|access[_-]?key|private[_-]?key"
        r"|access[_-]?token|auth[_-]?token|client[_-]?secret|token)\\{0,4}[\"']?"
        r"\s{0,3}[=:]\s{0,3}\\{0,4}[\"']?([^\s\"'&;,<>\[\]{}\\]{4,})"
    ),
    # In addresses (?key=x) and environments (MAPS_KEY=x).
    "key": r"(?i)(?:\b|_)(?:key|sid)=\\{0,4}[\"']?([a-z0-9+/_.~%-]{16,})",
    # Words that mean a secret only so close to a value: ?pin=1234, {"passphrase": "x"} in a text.
    "form": (
        r"(?i)(?:\b|_)(?:pass[_-]?phrase|passcode|pass_word|cookie|signature|sig|accountkey|sharedaccesskey"
        r"|sess(?:ion)?[_-]?id|authorization|credentials?|pin|t?otp|cv[vc])=([^\s\"'&;,<>\[\]{}\\]{3,})"
    ),
    "field": (
        r"(?i)[\"'](?:[a-z0-9_.-]*[_.-])?(?:pass[_-]?phrase|passcode|pass_word|cookie|signature"
        r"|sess(?:ion)?[_-]?id|authorization|credentials?|pin|t?otp|cv[vc])\\{0,4}[\"']"
        r"\s{0,3}[:=]\s{0,3}\\{0,4}[\"']([^\"'\\]{3,})"
    ),
    "element": (
        r"(?i)<[a-z0-9_.:-]*(?:password|passwd|passphrase|secret|token|api_?key|authorization|cvv|pin)"
        r"(?:\s[^<>]*)?>([^<>]+)</"
    ),
    "command": (
        r"(?:(?i:--?(?:password|passwd|passphrase|token|secret|api-?key))\s{1,3}"
        r"|\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\r\n|;&]*?\s-p"
        r"|\bcurl\b[^\r\n|;&]*?\s(?:-u|--user)\s{0,3}[\"']?[^\s:\"']*:)[\"']?([^\s\"']+)"
    ),
    "webhook-url": (
        r"(?i)(?:hooks\.slack\.com/[a-z]+/|discord(?:app)?\.com/api/webhooks/)([a-z0-9/_-]{8,})"
    ),
    "telegram-token": r"(?i)(?:api\.telegram\.org/(?:file/)?bot[0-9]+:|\bbot[0-9]{6,}:)([a-z0-9_-]{2,})",
    # As people write it: the password is x.
    "spoken": (
        r"(?i)\b(?:password|passwd|passphrase|passcode|pwd|secret|api[ _-]?key)\s{1,3}(?:is|was)\b"
        r"\s{0,3}:?\s{0,3}([\"'][^\"'\r\n]{4,64}[\"']|[^\s\"'<>()]{6,})"
    ),
}
_CARD = r"\b[2-6](?:[ -]?[0-9]){12,18}\b"
# Who issues cards: how their numbers begin, and how many digits they have.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"  # American Express, Diners
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14}"  # Discover, JCB, UnionPay
)
# What names a thing by a number: no card, though one number in ten passes the check.
_IDENTITY_KEY = re.compile(
    r"(?:^|_)(?:ids?|uid|gid|ref|reference|number|no|ean|gtin|isbn|imei|timestamp|time)$"
)
_CARD_KEY = re.compile(r"(?:^|_)(?:card|pan|cc|creditcard)(?:_?(?:no|num|number))?$")
_IDENTITY_BEFORE = re.compile(r"(?i)(?:id|order|invoice|ref)[\"']?\s?[=:#]\s?[\"']?\Z")
# What is no secret though it stands in its place: “token: expired”, “Cookie: not set by server”.
_SAYS_STATE = re.compile(
    r"(?i)(?:not|no|none|null|nil|undefined|nan|true|false|expired|invalid|missing|required|revoked|wrong"
    r"|incorrect|empty|blank|absent|unknown|denied|rejected|mismatch|malformed|unsupported|disabled"
    r"|must|should|is|are|was|has|and|or|cannot|can't|could|failed|too|needed|unset|unauthorized"
    r"|forbidden|error|option|flag|argument)(?:[\s.,!?:;)]|\Z)"
)
_LEFT_OPEN = frozenset({"assignment", "header", "form", "field", "element", "command"})
_ALL_SHAPES = "|".join([*_SHAPES.values(), _CARD])
# Each group costs time in every search, and here nobody asks for one.
_NO_GROUPS = re2.Options()
_NO_GROUPS.never_capture = True
_ANY_SHAPE = re2.compile(_ALL_SHAPES, _NO_GROUPS)
_TELLING = re2.compile(_TELLING_WORDS, _NO_GROUPS)


class _Look:
    """A pattern to look for in a whole body. Most bodies are ASCII, and need no decoding then."""

    def __init__(self, pattern: str) -> None:
        self._of_text = re2.compile(pattern, _NO_GROUPS)
        self._of_ascii = re2.compile(pattern.encode(), _NO_GROUPS)

    def finds(self, body: bytes) -> bool:
        if body.isascii():
            return self._of_ascii.search(body) is not None
        return self._of_text.search(body.decode("utf-8", "replace")) is not None


_LOOK_FOR_SHAPES = _Look(_ALL_SHAPES)
# What every shape has, without the counting that makes the full pattern slow: most bodies have none.
_LOOK_FOR_HINTS = _Look(
    r"(?i)AKIA|ASIA|gh[pousr]_|github_pat_|xox[abeoprs]-|[rs]k_(?:live|test)_|AIza|sk-|SG\.|fw_|eyJ"
    r"|bearer|basic|://|pass(?:word|wd|phrase|code)|pwd|secret|(?:api|access|private)[ _-]?key|token"
    r"|-----BEGIN|key=|sid="
    r"|cookie|authorization|cv[vc]|signature|accountkey|sess(?:ion)?[_-]?id|credential|sig=|pin[=\"']|otp[=\"']"
    r"|pass_word|hooks\.slack|/webhooks/|bot[0-9]+:|mysql|mariadb|curl|</[a-z0-9_.:-]*pin>"
    r"|[2-6][ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d[ -]?\d"
)
_SHAPE_PATTERNS = {mark: re2.compile(pattern) for mark, pattern in _SHAPES.items()}
# What a shape can't be without: looking for it is far quicker than the pattern.
_ALWAYS_IN = {
    "private-key": "-----BEGIN",
    "slack-token": "xox",
    "google-key": "AIza",
    "openai-key": "sk-",
    "sendgrid-key": "SG.",
    "flowwatch-token": "fw_",
    "jwt": "eyJ",
    "url-password": "://",
    "url-token": "://",
    "header": ":",
    "key": "=",
    "form": "=",
    "field": ":",
    "element": "</",
    "command": "-",
    "telegram-token": "bot",
}
_CARD_PATTERN = re2.compile(_CARD)
_SMALLEST_CARD = 10**12
_SHORTEST_SECRET = 8
_SHORTEST_RANDOM = 16
_LONGEST_MARK = len("[scrubbed::0000]") + max(map(len, _SHAPES))
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_NOT_SIGN = re.compile(r"[^A-Za-z0-9]+")
_RUN_OF_ONE_KIND = re.compile(r"[0-9]+|[a-z]+|[A-Z]+")
_NO_WORD = re.compile(r"[0-9@#$%^&*+=~!?]|[a-z][A-Z]")

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_WORD = re.compile(r"[^a-z0-9]+")


class TooDeep(ValueError):
    """A value is nested deeper than it may be."""


def _words_of(key: str) -> str:
    return _NOT_WORD.sub("_", _CAMEL.sub("_", key[-255:]).lower()).strip("_")


VALUE_KEYS = frozenset({"value", "Value", "stringValue", "keyValue"})
"""Where the value is in an object that `Scrubber.secret_name` names."""

Judge = Callable[[str, str, str], str]
"""(kind of shape, the secret, what stands before it in the match) → kind of the mark, "" for none."""


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """What one look at a whole body can't rule out; most bodies spare their values a walk.

    `values`: a text may hold a secret. `anything`: that, or a key may be secret, or a value may be
    nested too deep.
    """

    values: bool
    anything: bool


class Scrubber:
    """The rules with what an installation adds to them.

    `hash_key` (at most 64 bytes) keys the hashes in marks; `extra_keys` are secret, `safe_keys` are
    not, whatever their names look like (snake_case); JSON within a text is looked into down to
    `depth`.
    """

    def __init__(
        self,
        hash_key: bytes,
        *,
        extra_keys: Iterable[str] = (),
        safe_keys: Iterable[str] = (),
        depth: int = 64,
    ) -> None:
        self._hash_key = hash_key
        self._extra_keys = frozenset(extra_keys)
        self._safe_keys = frozenset(safe_keys)
        self._depth = depth
        self._is_secret_key = functools.lru_cache(maxsize=16_384)(self._decide_on_key)
        extra = ["[^a-z0-9]*".join(map(re2.escape, name.split("_"))) for name in self._extra_keys]
        # A pattern that every secret key matches, wherever it stands; it may match more.
        self._look_for_secret_keys = _Look("|".join([_TELLING_WORDS, *extra]))

    def mark(self, kind: str, secret: str) -> str:
        """What stands in the place of a secret."""
        tail = hashlib.blake2b(
            secret.encode("utf-8", "surrogatepass"), key=self._hash_key, digest_size=2
        ).hexdigest()
        return f"[scrubbed:{kind}:{tail}]"

    def is_secret_key(self, key: str) -> bool:
        """Whether a key's name says that its value is secret."""
        return self._is_secret_key(key[-255:])

    def _decide_on_key(self, key: str) -> bool:
        name = _words_of(key)
        if name in self._safe_keys:
            return False
        if name in self._extra_keys:
            return True
        return bool(_SECRET_KEY.search(name)) and not _SAFE_KEY.search(name)

    def secret_name(self, value: Mapping[str, Any]) -> str | None:
        """The secret key that an object like `{"name": "X-Api-Key", "value": …}` says; None without."""
        for naming in ("name", "key", "Name", "Key"):
            said = value.get(naming)
            if type(said) is str and self.is_secret_key(said):
                return said
        return None

    def is_secret_pair(self, value: Any) -> bool:
        """Whether a list is a name with its secret: `["Authorization", "…"]`, but no list of names."""
        if type(value) is not list or len(value) != 2:
            return False
        name, secret = value
        if type(name) is not str or not self.is_secret_key(name):
            return False
        return type(secret) is not str or not self.is_secret_key(secret)

    def suspect(self, body: bytes, *, depth: int) -> Suspicion:
        """Look once at a JSON body; what escapes may hide is suspect."""
        values = b"\\" in body or (_LOOK_FOR_HINTS.finds(body) and _LOOK_FOR_SHAPES.finds(body))
        return Suspicion(
            values=values,
            anything=values
            or b"\\u" in body
            or body.count(b"[") + body.count(b"{") > depth
            or self._look_for_secret_keys.finds(body),
        )

    def scrub_text(self, text: str) -> str:
        """The text with every secret shape replaced by its mark; JSON in a text also by its keys."""
        if len(text) < _SHORTEST_SECRET:
            return text
        if text[0] in "{[" and _TELLING.search(text) is not None:
            text = self._scrub_json(text)
        return self.replace_secrets(text, _kind_if_likely)

    def _scrub_json(self, text: str) -> str:
        """JSON that is a text, without secrets; what is no JSON, or needs nothing, as it is."""
        try:
            value = json.loads(text)
            clean = self.scrub(value, depth=self._depth)
            if clean == value:
                return text
            written = json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            written.encode()
        except (ValueError, RecursionError):
            return text
        return written

    def replace_secrets(self, text: str, judge: Judge) -> str:
        """The text with every secret shape replaced that `judge` takes for a secret."""
        if len(text) < _SHORTEST_SECRET or _ANY_SHAPE.search(text) is None:
            return text
        for kind, pattern in _SHAPE_PATTERNS.items():
            if _ALWAYS_IN.get(kind, "") not in text:
                continue
            text = pattern.sub(functools.partial(self._replace, judge, kind), text)
        return str(_CARD_PATTERN.sub(self._replace_card, text))

    def _replace(self, judge: Judge, shape: str, match: Any) -> str:
        whole: str = match.group(0)
        group = 1 if match.re.groups else 0
        secret: str | None = match.group(group)
        if not secret or "[scrubbed" in secret or _is_in_mark(match):
            return whole
        start, end = (at - match.start() for at in match.span(group))
        kind = judge(shape, secret, whole[:start])
        return whole[:start] + self.mark(kind, secret) + whole[end:] if kind else whole

    def _replace_card(self, match: Any) -> str:
        whole: str = match.group(0)
        before: str = match.string[max(0, match.start() - 16) : match.start()]
        is_card = _is_card(whole) and not _IDENTITY_BEFORE.search(before)
        return self.mark("card", whole) if is_card else whole

    def scrub(self, value: Any, *, depth: int, look_at_values: bool = True) -> Any:
        """The JSON value with secrets replaced; containers without secrets are returned as they are.

        Raises TooDeep when containers are nested deeper than `depth`. `look_at_values=False` looks
        at keys only (see `suspect`).
        """
        if type(value) is str:
            return self.scrub_text(value) if look_at_values else value
        if type(value) is dict:
            return self._scrub_object(value, depth, look_at_values)
        if type(value) is list:
            if depth <= 0:
                raise TooDeep
            if list in map(type, value) and any(map(self.is_secret_pair, value)):
                return [self._scrub_pair(item, depth - 1, look_at_values) for item in value]
            return [
                self.scrub(item, depth=depth - 1, look_at_values=look_at_values) for item in value
            ]
        return value

    def _scrub_pair(self, item: Any, depth: int, look_at_values: bool) -> Any:
        if not self.is_secret_pair(item):
            return self.scrub(item, depth=depth, look_at_values=look_at_values)
        if depth <= 0:
            raise TooDeep
        return [item[0], self._scrub_secret(item[1], depth - 1)]

    def _scrub_object(
        self, value: Mapping[str, Any], depth: int, look_at_values: bool
    ) -> dict[str, Any]:
        if depth <= 0:
            raise TooDeep
        clean: dict[str, Any] = {}
        is_named = ("value" in value or "Value" in value) and self.secret_name(value) is not None
        for key, item in value.items():
            if is_named and key in VALUE_KEYS:
                clean[key] = self._scrub_secret(item, depth - 1)
            elif self.is_secret_key(key):
                clean[key] = (
                    item if _is_public_sid(key, item) else self._scrub_secret(item, depth - 1)
                )
            elif type(item) is str:
                is_plain = (
                    not look_at_values
                    or len(item) < _SHORTEST_SECRET
                    or (item.isdigit() and _names_thing(key))
                )
                clean[key] = item if is_plain else self.scrub_text(item)
            elif type(item) is int and item >= _SMALLEST_CARD:
                clean[key] = self._scrub_number(key, item)
            elif type(item) is dict or type(item) is list:
                clean[key] = self.scrub(item, depth=depth - 1, look_at_values=look_at_values)
            else:
                clean[key] = item
            if (
                look_at_values
                and len(key) >= _SHORTEST_SECRET
                and (name := self.scrub_text(key)) != key
            ):
                clean[name] = clean.pop(key)
        return clean

    def _scrub_number(self, key: str, number: int) -> Any:
        is_card = _CARD_KEY.search(_words_of(key)) is not None and _is_card(str(number))
        return self.mark("card", str(number)) if is_card else number

    def _scrub_secret(self, value: Any, depth: int) -> Any:
        """Every text and number below a secret key, replaced."""
        if type(value) is dict:
            if depth <= 0:
                raise TooDeep
            return {key: self._scrub_secret(item, depth - 1) for key, item in value.items()}
        if type(value) is list:
            if depth <= 0:
                raise TooDeep
            return [self._scrub_secret(item, depth - 1) for item in value]
        if value is None or type(value) is bool or value == "":
            return value
        text = str(value)
        return text if text.startswith("[scrubbed:") else self.mark("secret", text)


def _is_in_mark(match: Any) -> bool:
    """Whether the match is part of a mark: “password:3f9a” in “[scrubbed:url-password:3f9a]”."""
    before: str = match.string[max(0, match.start() - _LONGEST_MARK) : match.start()]
    return before.rfind("[scrubbed:") > before.rfind("]")


def _kind_if_likely(kind: str, secret: str, _before: str = "") -> str:
    """The kind, when it looks like a secret where the words around it leave that open."""
    if kind in ("key", "url-token"):
        return kind if looks_random(secret) else ""
    if kind in _LEFT_OPEN and _says_state(secret):
        return ""
    return kind if kind != "spoken" or _looks_chosen(secret) else ""


def looks_random(text: str) -> bool:
    """Whether no person wrote it: long, and kinds of signs change often.

    UUIDs and words with a date or number name things, and stay.
    """
    if len(text) < _SHORTEST_RANDOM or _UUID.fullmatch(text) or _PUBLIC_SID.fullmatch(text):
        return False
    signs = _NOT_SIGN.sub("", text)
    digits = sum(map(str.isdigit, signs))
    if digits < 2 or len(signs) - digits < 2:
        return False
    changes = len(_RUN_OF_ONE_KIND.findall(signs)) - 1
    return 3 * changes >= len(signs) or (len(signs) >= 24 and _HEX.fullmatch(signs) is not None)


def _says_state(text: str) -> bool:
    """Whether plain words stand where a secret could: “expired”, “not set by server”."""
    return (
        _SAYS_STATE.match(text) is not None
        and "=" not in text
        and not any(map(looks_random, text.split()))
    )


def _looks_chosen(text: str) -> bool:
    """Whether it is quoted, or no word of the sentence: “is hunter2”, not “is missing”."""
    return text[0] in "\"'" or _NO_WORD.search(text.rstrip(".,;:!?")) is not None


def _is_card(text: str) -> bool:
    """Whether it is the number of a card that somebody issues."""
    digits = "".join(filter(str.isdigit, text))
    return _ISSUED.fullmatch(digits) is not None and _passes_luhn([*map(int, digits)])


def _passes_luhn(digits: list[int]) -> bool:
    """Luhn's check digit (ISO/IEC 7812-1, annex B): spares long ids that are no card numbers."""
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _names_thing(key: str) -> bool:
    """Whether digits below the key only name a thing, and are no card."""
    return _IDENTITY_KEY.search(_words_of(key)) is not None


def _is_public_sid(key: str, item: Any) -> bool:
    return key == "sid" and type(item) is str and _PUBLIC_SID.fullmatch(item) is not None
