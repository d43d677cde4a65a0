"""What this library says of itself goes to the logger "flowwatch_client", and never fails the workflow."""

from __future__ import annotations

import logging

from flowwatch_client.signals import raised_by_handler

_logger = logging.getLogger("flowwatch_client")


def say(level: int, text: str, *args: object, exc_info: bool = False) -> None:
    """Log it: handlers and filters are the program's, and what they raise stays here."""
    try:
        _logger.log(level, text, *args, stacklevel=2, exc_info=exc_info)
    except BaseException as error:  # whatever it is, the workflow goes on
        if raised_by_handler(error):
            raise
