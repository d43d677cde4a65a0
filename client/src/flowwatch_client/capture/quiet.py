"""The border: what goes wrong in recording is said on the logger and stays out of the workflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

_Method = TypeVar("_Method", bound=Callable[..., None])


class _Complains(Protocol):
    def complain(self, doing: str, error: BaseException) -> None: ...


def quiet(method: _Method) -> _Method:
    """The method, which raises none of its errors."""

    @functools.wraps(method)
    def never_raises(self: _Complains, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except BaseException as error:  # that is what it is for
            self.complain(method.__name__.strip("_").replace("_", " "), error)

    return cast(_Method, never_raises)
