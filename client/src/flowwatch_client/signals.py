"""Exceptions that a signal's handler raises are the workflow's, wherever they come up.

Time limits work so (`signal.alarm`, Celery's soft limit): the handler may run in the middle of this
library's code, and what it raises must not be taken for an error of that code.
"""

from __future__ import annotations

import asyncio
import functools
import opcode
import signal
from types import CodeType
from typing import Any

_RAISE = opcode.opmap["RAISE_VARARGS"]
_OF_CODE = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What code raises by itself, also code that is written in C (`sys.exit`)."""


def raised_by_handler(error: BaseException) -> bool:
    """Whether the handler of a signal, as they are set now, raised it.

    Python's own handler of Ctrl-C leaves no trace, nor do time limits of greenlets, which are no
    `Exception` either: of such, only what a `raise` says is taken for the code's own.
    """
    if isinstance(error, RecursionError):  # no room to look
        return False
    if not isinstance(error, _OF_CODE) and not _is_said_by_raise(error):
        return True
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


def _is_said_by_raise(error: BaseException) -> bool:
    stack = error.__traceback__
    if stack is None:
        return False
    while stack.tb_next is not None:
        stack = stack.tb_next
    return stack.tb_frame.f_code.co_code[stack.tb_lasti : stack.tb_lasti + 1] == bytes([_RAISE])


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
