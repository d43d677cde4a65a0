"""Expressions in texts of a definition: what n8n evaluates stands between `{{` and `}}`."""

from __future__ import annotations

from collections.abc import Iterator

_OPENING = "{{"
_CLOSING = "}}"


def pieces_of(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is an expression (with its braces).

    Takes linear time whatever the text is: `{{.*?}}` as a pattern looks for an end that is missing
    once for each opening.
    """
    at = 0
    while (opening := text.find(_OPENING, at)) >= 0:
        closing = text.find(_CLOSING, opening + len(_OPENING))
        if closing < 0:
            break
        yield text[at:opening], False
        at = closing + len(_CLOSING)
        yield text[opening:at], True
    yield text[at:], False
