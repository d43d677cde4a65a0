"""Any Python value as JSON text: never an error, never more than the limits, nothing kept alive.

Values that are plain JSON already, as most are, go through the C encoder; a short walk before says
whether they are and are small enough. All others are copied piece by piece (`_Copier`).
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import marshal
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Set, ValuesView
from typing import Any

from flowwatch_client.secret_rules import Scrubber
from flowwatch_client.signals import raised_by_handler

MOST_CHARACTERS = 256 * 1024
"""Of all texts of a value together, keys too; what is more is cut. JSON may write six for one."""
MOST_ITEMS = 10_000
"""Of all containers of a value together."""
MOST_DEPTH = 32
"""The server takes 64 for a whole message."""
_SMALLEST, _LARGEST = -(2**63), 2**63
_LONGEST_REPR = 500
_MOST_BYTES = 256
_MOST_CELLS = 1_000
_MOST_COLUMNS = 100
_LONGEST_KEY = 500
_SHORTEST_OBJECT = len('{"k":1}')
"""No shorter text has a key, and no secret of its own is as short."""
_OVERHANG = 512
"""Characters behind a cut that are looked at: longer than most secrets."""


def _encoder() -> Callable[[Any], str]:
    """JSONEncoder.encode; where Python has its C encoder, that one, made once and not for each value."""
    encoder = json.JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    quote = getattr(json.encoder, "encode_basestring", None)
    try:
        parts = make(None, encoder.default, quote, None, ":", ",", False, False, False)  # type: ignore[misc]
        assert "".join(parts(["é", {"a": 1.5}], 0)) == '["é",{"a":1.5}]'
    except Exception:  # another Python's
        return encoder.encode
    return lambda value: "".join(parts(value, 0))


_encode = _encoder()


def to_json(value: Any, scrubber: Scrubber | None = None) -> str:
    """JSON text of any value, scrubbed; what is too much is cut with a mark `{"__truncated__": …}`."""
    try:
        text = storable(
            _encode(value if _is_plain_safely(value) else _Copier(scrubber).copy(value, 0))
        )
        return text if scrubber is None else scrub_json(text, scrubber)
    except BaseException as error:  # a value may run any code while it is looked at
        return _encode(_unreadable(error))


def _is_plain_safely(value: Any) -> bool:
    try:
        return _is_plain(value)
    except (TypeError, RuntimeError) as error:  # keys that are no text; changed meanwhile
        if raised_by_handler(error):
            raise
        return False


def storable(text: str) -> str:
    """The text without lone surrogates, which neither SQLite nor the server can keep."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text


def snapshot(value: Any, scrubber: Scrubber) -> bytes:
    """The value as it is now, for `json_of_snapshot`: quicker than its text."""
    try:
        if _is_plain_safely(value):
            try:
                return marshal.dumps(value)
            except ValueError as error:  # a subclass of str among the keys
                if raised_by_handler(error):
                    raise
        return marshal.dumps(_Copier(scrubber).copy(value, 0))
    except BaseException as error:  # see `to_json`
        return marshal.dumps(_unreadable(error))


def json_of_snapshot(taken: bytes, scrubber: Scrubber) -> str:
    """What `to_json` would have made of the value."""
    try:
        return scrub_json(storable(_encode(marshal.loads(taken))), scrubber)  # noqa: S302 - our own
    except BaseException as error:  # see `to_json`
        return _encode(_unreadable(error))


def scrub_json(text: str, scrubber: Scrubber) -> str:
    """The JSON text without secrets. Raises ValueError when it is none."""
    if len(text) < _SHORTEST_OBJECT:
        return text
    suspicion = scrubber.suspect(text.encode(), depth=sys.maxsize)
    if not suspicion.anything:
        return text
    return _encode(scrubber.scrub(json.loads(text), depth=64, look_at_values=suspicion.values))


def _is_plain(value: Any) -> bool:
    """Whether it is JSON already, within all limits. Cycles are deeper than any limit."""
    characters = items = 0
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH + 1):
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is str:
                characters += len(each)
            elif kind is int:
                if not _SMALLEST <= each < _LARGEST:
                    return False
            elif kind is dict:
                items += len(each)
                if items > MOST_ITEMS:
                    return False
                below += each.values()
                characters += len("".join(each))  # no text among the keys: TypeError
            elif kind is list:
                items += len(each)
                if items > MOST_ITEMS:
                    return False
                below += each
            elif kind is float:
                if each - each != 0.0:  # NaN and infinities
                    return False
            elif each is not None and kind is not bool:
                return False
        if characters > MOST_CHARACTERS:
            return False
        if not below:
            return True
        level = below
    return False


class _Copier:
    """Copies one value into plain JSON, as long as characters and items last.

    What it is, its type says: asking the value itself (`isinstance`) may run code of a lazy one.
    """

    def __init__(self, scrubber: Scrubber | None) -> None:
        self._scrubber = scrubber
        self._characters = MOST_CHARACTERS
        self._items = MOST_ITEMS
        self._above: set[int] = set()

    def copy(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if _SMALLEST <= value < _LARGEST else self._text(_long_number(value))
        if kind is float:
            return value if value - value == 0.0 else repr(value)
        if kind is str:
            return self._text(value)
        if depth >= MOST_DEPTH:
            return {"__truncated__": {"depth": MOST_DEPTH}}
        if id(value) in self._above:
            return {"__truncated__": {"cycle": kind.__name__}}
        self._above.add(id(value))
        try:
            return self._by_kind(value, kind, depth + 1)
        except BaseException as error:  # this part runs code of its own; the others are told
            return _unreadable(error)
        finally:
            self._above.discard(id(value))

    def _by_kind(self, value: Any, kind: type[Any], depth: int) -> Any:
        if issubclass(kind, (str, int, float)):  # enums and such
            return self.copy(_base(value), depth)
        if issubclass(kind, Mapping):
            return self._object(value, depth)
        if issubclass(kind, (list, tuple, Set, collections.deque, ValuesView)):
            return (
                self._object(value._asdict(), depth)
                if hasattr(kind, "_asdict")
                else self._list(value, depth)
            )
        if issubclass(kind, (bytes, bytearray, memoryview)):
            return self._bytes(value)
        if issubclass(kind, (dt.datetime, dt.date, dt.time)):
            return value.isoformat()
        if issubclass(kind, (dt.timedelta, decimal.Decimal, uuid.UUID, pathlib.PurePath)):
            return self._text(str(value))
        if issubclass(kind, enum.Enum):
            return self.copy(value.value, depth)
        if issubclass(kind, BaseException):
            return self._text(f"{kind.__name__}: {value}")
        return self._own(value, kind, depth)

    def _own(self, value: Any, kind: type[Any], depth: int) -> Any:
        """Objects of libraries and of the workflow itself."""
        if callable(value):
            return self._text(str(getattr(value, "__qualname__", kind.__name__)))
        if dataclasses.is_dataclass(kind):
            names = [field.name for field in dataclasses.fields(kind)]
            return self._object({name: getattr(value, name, None) for name in names}, depth)
        if hasattr(kind, "model_dump") or hasattr(kind, "__fields__"):  # pydantic 2 and 1
            return self._object(dict(value), depth)
        if hasattr(kind, "dtype") and hasattr(kind, "shape"):  # numpy, pandas' series
            return self._array(value, depth)
        if hasattr(kind, "dtypes") and hasattr(kind, "to_dict"):  # pandas' tables
            return self._table(value, depth)
        # Django's querysets: their text is a question to the database.
        if hasattr(kind, "_fetch_all") and value._result_cache is None:
            return self._text(f"<{kind.__name__} that has not been evaluated>")
        return self._text(self._shortened(value))

    def _table(self, value: Any, depth: int) -> Any:
        if value.size <= min(self._items, _MOST_CELLS):
            return self._list(value.to_dict("records"), depth)
        columns = self._list(map(str, value.columns[:_MOST_COLUMNS]), depth)
        cut = {"type": type(value).__name__, "shape": list(value.shape), "columns": columns}
        return {"__truncated__": cut}

    def _array(self, value: Any, depth: int) -> Any:
        size = int(getattr(value, "size", 0))
        if size == 1 and not value.shape:
            return self.copy(value.item(), depth)
        if size <= min(self._items, _MOST_CELLS) and hasattr(value, "tolist"):
            return self.copy(value.tolist(), depth)
        return {
            "__truncated__": {
                "type": type(value).__name__,
                "dtype": self._text(str(value.dtype)),
                "shape": list(value.shape),
            }
        }

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        for key, each in value.items():
            if self._items <= 0 or self._characters <= 0:
                copied["__truncated__"] = {"items": len(value), "kept": len(copied)}
                break
            self._items -= 1
            name = self._cut(_key(key), _LONGEST_KEY)
            self._characters = max(0, self._characters - len(name))
            copied[name] = self.copy(each, depth)
        return copied

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        copied: list[Any] = []
        for each in value:
            if self._items <= 0 or self._characters <= 0:
                copied.append({"__truncated__": {"items": _length(value), "kept": len(copied)}})
                break
            self._items -= 1
            copied.append(self.copy(each, depth))
        return copied

    def _bytes(self, value: bytes | bytearray | memoryview) -> dict[str, Any]:
        """Text stays readable, also for the rules for secrets."""
        most = min(_MOST_BYTES, self._characters)
        kept = bytes(value[:most])
        text = kept.decode("utf-8", "ignore")
        cut = 0 if len(kept) == len(value) else 3  # the last sign may have lost its end
        is_text = len(text.encode()) >= len(kept) - cut
        if is_text:  # looked at with what follows, as the cut may go through a secret
            text = self._cut(bytes(value[: most + _OVERHANG]).decode("utf-8", "ignore"), len(text))
        begins = text if is_text else base64.b64encode(kept[:64]).decode("ascii")
        self._characters = max(0, self._characters - len(begins))
        return {"__bytes__": {"bytes": len(value), ("text" if is_text else "begins"): begins}}

    def _text(self, text: str) -> str | dict[str, Any]:
        if len(text) <= self._characters:
            self._characters -= len(text)
            return text
        kept, self._characters = self._cut(text, self._characters), 0
        return {"__truncated__": {"characters": len(text), "text": kept}}

    def _shortened(self, value: Any) -> str:
        text = repr(value)
        return text if len(text) <= _LONGEST_REPR else f"{self._cut(text, _LONGEST_REPR)}…"

    def _cut(self, text: str, most: int) -> str:
        return beginning(text, most, self._scrubber)


def beginning(text: str, most: int, scrubber: Scrubber | None) -> str:
    """Of a long text, with marks for secrets through which the cut goes: no rule knows half of one."""
    if len(text) <= most or scrubber is None:
        return text[:most]
    clean = scrubber.scrub_text(storable(text[: most + _OVERHANG]))
    # What the other cut left of a secret may come near, where marks are shorter than secrets.
    far = len(clean) - (_OVERHANG // 2 if len(text) > most + _OVERHANG else 0)
    return clean[: min(most, max(0, far))]


def _base(value: Any) -> Any:
    """The plain value of a subclass of str, int or float."""
    for base in (str, int, float):
        if isinstance(value, base):
            return base.__str__(value) if base is str else base(value)
    raise TypeError


def _key(key: Any) -> str:
    """As JSON takes it: of enums that are texts, too, what they stand for."""
    return str.__str__(key) if issubclass(type(key), str) else str(key)


def _long_number(value: int) -> str:
    """Python refuses to write very long numbers in decimal digits."""
    try:
        return str(value)[:_LONGEST_REPR]
    except ValueError:
        return hex(value)[:_LONGEST_REPR]


def _unreadable(error: BaseException) -> str:
    """What stands for a value that raised this; what a signal's handler raised meanwhile goes on."""
    if raised_by_handler(error):
        raise error
    return f"[not readable: {type(error).__name__}]"


def _length(value: Any) -> int | None:
    return len(value) if hasattr(value, "__len__") else None
