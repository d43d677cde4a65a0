"""Exceptions that a signal's handler raises are the workflow's, wherever they come up.

Time limits work so (`signal.alarm`, Celery's soft limit): the handler may run in the middle of this
library's code, and what it raises must not be taken for an error of that code.
"""

from __future__ import annotations

import functools
import signal
from types import CodeType
from typing import Any


def raised_by_handler(error: BaseException) -> bool:
    """Whether the handler of a signal, as they are set now, raised it."""
    if isinstance(error, RecursionError):  # no room to look
        return False
    try:
        codes = {_code_of(handler) for handler in map(signal.getsignal, signal.valid_signals())}
    except RecursionError:
        return False
    stack = error.__traceback__
    while stack is not None:
        if stack.tb_frame.f_code in codes:
            return True
        stack = stack.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):
        return None
    function = getattr(handler, "__func__", handler)
    for each in (function, type(handler).__call__):
        code = getattr(each, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None
