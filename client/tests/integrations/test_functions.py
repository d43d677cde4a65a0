"""Functions that others have written become nodes without a change to their code."""

from __future__ import annotations

import inspect
import types
from typing import Any

from flowwatch_client import traced, workflow, wrap
from recorded import Recorded


class Importer:
    def read(self, path: str) -> str:
        return path

    @staticmethod
    def parse(text: str) -> str:
        return text

    def _inner(self) -> None:
        """Not public."""


def test_traced_functions(recorded: Recorded) -> None:
    fetch = traced(len, type="http")
    with workflow("orders"):
        assert fetch([1]) == 1
    _, nodes = recorded.one()
    assert [(each.node_id, each.node_type, each.output) for each in nodes] == [("len", "http", "1")]


def test_a_module_is_wrapped_once(recorded: Recorded) -> None:
    module = types.ModuleType("shop.orders")
    exec("from json import loads\ndef read(n): return n\ndef _own(): pass", module.__dict__)
    assert wrap(module) == ["read"]
    assert wrap(module) == []
    with workflow("orders"):
        assert module.read(3) == 3
    _, nodes = recorded.one()
    assert [(each.node_id, each.input) for each in nodes] == [("orders.read", '{"n":3}')]


def test_a_class_and_an_object_are_wrapped(recorded: Recorded) -> None:
    one = Importer()
    assert wrap(one, ["read"]) == ["read"]
    kind: Any = type("Kind", (), dict(vars(Importer)))
    assert wrap(kind) == ["read", "parse"]
    assert isinstance(inspect.getattr_static(kind, "parse"), staticmethod)
    with workflow("orders"):
        assert one.read("a") == "a"
        assert Importer().read("not recorded") == "not recorded"
        assert (kind().read("b"), kind.parse("c")) == ("b", "c")
    _, nodes = recorded.one()
    assert [(each.node_id, each.input) for each in nodes] == [
        ("Importer.read", '{"path":"a"}'),
        ("Kind.read", '{"path":"b"}'),
        ("Kind.parse", '{"text":"c"}'),
    ]
