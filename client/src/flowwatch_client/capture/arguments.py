"""The arguments of a call as one object: names as in the function's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_ITSELF = ("self", "cls")


class Arguments:
    """Names the positional arguments of one function's calls; `self` is left out."""

    __slots__ = ("_first", "_names")

    def __init__(self, function: Callable[..., Any]) -> None:
        names = _positional_names(function)
        self._first = 1 if names and names[0] in _ITSELF else 0
        self._names = names[self._first :]

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        given = args[self._first :] if self._first else args
        named = dict(zip(self._names, given))  # noqa: B905 - defaults aren't given
        if len(given) > len(self._names):
            named["*"] = given[len(self._names) :]
        if kwargs:
            named.update(kwargs)
        return named


def _positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return ()
    return tuple(
        each.name
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    )
