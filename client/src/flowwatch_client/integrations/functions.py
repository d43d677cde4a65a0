"""Records functions that others have written, without changing their code."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flowwatch_client.capture.nodes import Node

_Function = TypeVar("_Function", bound=Callable[..., Any])


def traced(function: _Function, /, node_id: str | None = None, **options: Any) -> _Function:
    """The function as a node: `fetch = traced(requests.get, type="http")`. Options as of `node`."""
    return Node(node_id, **options)(function)


def wrap(owner: Any, /, names: Iterable[str] | None = None, **options: Any) -> list[str]:
    """Make nodes of the functions of a module, a class or an object, in their place; their names.

    Without `names`: all public functions that a module defines itself, or public methods that a class
    has. Nodes are called `module.function` and `Class.method`. What is one already stays as it is.
    """
    wrapped = []
    for name in _public(owner) if names is None else names:
        found = inspect.getattr_static(owner, name)
        inner = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        if hasattr(inner, "__flowwatch__"):
            continue
        if not isinstance(owner, (types.ModuleType, type)):
            found = getattr(owner, name)
        made = Node(_name(owner, name), **options)(found)
        setattr(owner, name, made)
        wrapped.append(name)
    return wrapped


def _name(owner: Any, name: str) -> str:
    if isinstance(owner, types.ModuleType):
        return f"{owner.__name__.rpartition('.')[2]}.{name}"
    return f"{(owner if isinstance(owner, type) else type(owner)).__qualname__}.{name}"


def _public(owner: Any) -> list[str]:
    kind = owner if isinstance(owner, (types.ModuleType, type)) else type(owner)
    names = []
    for name, found in vars(kind).items():
        inner = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        is_imported = isinstance(owner, types.ModuleType) and (
            getattr(inner, "__module__", None) != owner.__name__
        )
        if not name.startswith("_") and inspect.isfunction(inner) and not is_imported:
            names.append(name)
    return names
