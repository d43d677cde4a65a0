"""No pattern takes more than linear time: senders choose the texts, and `re` holds the whole process.

Every compiled pattern of every module is tried with long texts that make greedy and lazy repeats run
far; a new one is tried as soon as it is written. What an hour of CPU would take shows in a second.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

from monitoring.definition_secrets import scrub_definition
from monitoring.metrics.timerange import asked_time
from monitoring.recording import classify, fingerprint
from monitoring.recording.scrub import scrubber
from scheduling.lint.rules import data

_APPS = ("alerts", "config", "monitoring", "scheduling", "tenants")
_LENGTH = 10_000
_MOST_CPU = 0.1
"""Seconds for one text; linear patterns take less than a hundredth of it, quadratic ones more."""
_HEADS = ("", "1", "<a", "T10")
_UNITS = (
    *(" ", "\n", "a", "1", "A", "_", "-", ".", ",", "/", "\\", '"', "'", "`", "{", "[", "<", "@", "$"),
    *("{{", "}}", "/*", "//", "$('", '$("', "$(`", "$node[", "$node['", "$items(", "$ ", "](", "a:"),
    *('"a" ', '"\\', "://", "a://", "- at `$", "[1]", ".a", "{a}", "a1", "aA", "Bearer ", "password"),
    *("[scrubbed:", "=?", "verify ", "Error", "@a", "x,", "T10 ", " 10", "2026-01-01", "2026-01-01T10:00 "),
)  # fmt: skip
_TAIL = "\0!"


def _modules() -> Iterator[str]:
    for app in _APPS:
        package = importlib.import_module(app)
        for found in pkgutil.walk_packages(package.__path__, f"{app}."):
            if ".migrations." not in found.name and not found.name.endswith("__main__"):
                yield found.name


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in _modules():
        for variable, value in vars(importlib.import_module(name)).items():
            if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                yield f"{name}.{variable}", value


def _texts() -> Iterator[str]:
    for head, unit in itertools.product(_HEADS, _UNITS):
        yield head + unit * (_LENGTH // len(unit)) + _TAIL


@pytest.mark.parametrize(
    ("name", "pattern"), [pytest.param(*each, id=each[0]) for each in _patterns()]
)
def test_a_pattern_takes_linear_time(name: str, pattern: re.Pattern[str]) -> None:
    for text in _texts():
        begun = time.process_time()
        pattern.search(text)
        pattern.fullmatch(text)
        took = time.process_time() - begun
        assert took < _MOST_CPU, f"{name} takes {took:.1f} s for {text[:20]!r}…"


_LONG = 100_000
_MOST_CPU_OF_LONG = 5.0
"""Seconds of which linear work takes a twentieth; a quadratic pass would take half a minute."""


def _definition(text: str) -> None:
    parameters = {
        "url": text,
        "jsCode": text,
        "token": text,
        "headers": [{"name": "X-Api-Key", "value": text}],
    }
    scrub_definition({"nodes": [{"name": text, "parameters": parameters}]}, depth=64)


def _references(text: str) -> None:
    for field in ("jsCode", "url"):
        list(data._references(field, f"={text}"))


def _time(text: str) -> None:
    with pytest.raises(ValueError):
        asked_time(f"T10{text}")


def _error(text: str) -> None:
    fingerprint.fingerprint(text)
    classify.classify(text)


@pytest.mark.parametrize(
    "unit",
    ["{{", "{{ }", "/*", "$('", " 10", "password=", "<password>", '"name":"token",', "--password "],
)
@pytest.mark.parametrize("reader", [_definition, _references, _time, scrubber().scrub_text, _error])
def test_a_reader_takes_linear_time(reader: object, unit: str) -> None:
    assert callable(reader)
    text = unit * (_LONG // len(unit))
    begun = time.process_time()
    reader(text)
    assert time.process_time() - begun < _MOST_CPU_OF_LONG
