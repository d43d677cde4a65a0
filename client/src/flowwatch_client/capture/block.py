"""What `workflow(…)` and `node(…)` give has two uses: as a decorator, and as a block again and again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from flowwatch_client.capture.place import Place, here


class _Entered(Protocol):
    @property
    def entered_at(self) -> Place | None:
        """Where code within it is."""

    def __enter__(self: _Recording) -> _Recording: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None: ...


_Recording = TypeVar("_Recording", bound=_Entered)


class Block(ABC, Generic[_Recording]):
    """Begins a recording each time it is entered; may be open in several threads and tasks at once."""

    def __init__(self) -> None:
        self._open: list[_Recording] = []

    @abstractmethod
    def _begin_block(self, depth: int) -> _Recording:
        """Begin to record; the `with` stands `depth` calls above."""

    def _enter(self, depth: int) -> _Recording:
        begun = self._begin_block(depth + 1)
        entered = begun.__enter__()
        self._open.append(begun)
        return entered

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        """Of several that are open, the one in which this code is; else one that is nowhere."""
        place = here.get()
        opened = self._open[::-1]  # other threads enter and leave meanwhile
        within = [each for each in opened if each.entered_at is place]
        nowhere = [each for each in opened if each.entered_at is None]
        for each in (*within, *nowhere, *opened):
            try:
                self._open.remove(each)
            except ValueError:  # another thread has left it
                continue
            each.__exit__(kind, error, stack)
            return

    def __enter__(self) -> _Recording:
        return self._enter(2)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._leave(kind, error, stack)

    async def __aenter__(self) -> _Recording:
        return self._enter(2)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._leave(kind, error, stack)
