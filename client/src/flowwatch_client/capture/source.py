"""Where a node stands in the workflow's code: `orders/invoice.py:42`."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

Source = tuple[str, int, str]
"""File, line, function."""


def of_function(function: Callable[..., Any]) -> Source | None:
    """Where a function is written; None for those that aren't written in Python."""
    try:
        inner = inspect.unwrap(function)
    except ValueError:
        inner = function
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    if not isinstance(code, CodeType):
        return None
    return _short(code.co_filename), code.co_firstlineno, inner.__qualname__


def of_caller(depth: int) -> Source:
    """The line that called, `depth` calls above the caller of this function."""
    frame = sys._getframe(depth + 1)
    code = frame.f_code
    return _short(code.co_filename), frame.f_lineno, getattr(code, "co_qualname", code.co_name)


@functools.lru_cache(maxsize=1024)
def _short(path: str) -> str:
    """Relative to the folder it was imported from or started in."""
    try:
        started = Path.cwd()
    except OSError:  # the folder is gone
        return path
    full = started / path
    folders = {started, *(started / each for each in sys.path if isinstance(each, str))}
    above = [each for each in folders if full.is_relative_to(each)]
    return str(full.relative_to(max(above, key=lambda each: len(each.parts)))) if above else path
