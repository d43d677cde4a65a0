"""What is told of a generator: how many items it gave, and the first of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST_ITEMS = 5
MOST_CHARACTERS = 64 * 1024


class Items:
    """Counts items; the first become text at once, so that none is kept alive or seen changed."""

    __slots__ = ("_characters", "_count", "_first", "_json")

    def __init__(self, json: Callable[[Any], str]) -> None:
        self._json = json
        self._count = 0
        self._characters = 0
        self._first: list[str] = []

    def add(self, item: Any) -> None:
        self._count += 1
        if self._count <= MOST_ITEMS and self._characters <= MOST_CHARACTERS:
            text = self._json(item)
            self._characters += len(text)
            self._first.append(text)

    def text(self) -> str:
        """JSON: `{"items": 3, "first": [1, 2, 3]}`."""
        return f'{{"items":{self._count},"first":[{",".join(self._first)}]}}'
