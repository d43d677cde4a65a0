"""One line for each event: time, level, logger, message and the fields given as ``extra``."""

import json
import logging
import re
from datetime import UTC, datetime
from http import HTTPStatus

from tenants.request_ids import current_request_id

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request"}
# Links in mails hold what lets act whoever has it; Django writes the paths that it refuses.
_TOKENS_IN_PATHS = re.compile(r"(/alerts/acknowledge/|/password/reset/[^/\s]+/)[^/\s\"]+")


class LineFormatter(logging.Formatter):
    """``2026-01-31T09:00:00.000Z INFO name: message key="value"``; no text can forge a second line.

    What a request causes says its id, as its answer does in X-Request-ID.
    Control characters of the message and of every field are escaped; a traceback follows indented.
    Tokens in paths are left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"
        line = f"{stamp} {record.levelname} {record.name}: {_one_line(record.getMessage())}"
        line += "".join(
            f" {key}={json.dumps(value, default=str)}"
            for key, value in vars(record).items()
            if key not in _STANDARD_FIELDS
        )
        if request_id := current_request_id():
            line += f" request_id={json.dumps(request_id)}"
        if record.exc_info:
            line += "\n" + _indented(self.formatException(record.exc_info))
        return _TOKENS_IN_PATHS.sub(r"\1…", line)


class NoRefusals(logging.Filter):
    """Leaves out that a request was asked to come again: under load that is most of them.

    Why is logged once where it is found, and how many they are is counted.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is said."""
        return getattr(record, "status_code", None) != HTTPStatus.SERVICE_UNAVAILABLE


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _indented(text: str) -> str:
    return "\n".join("    " + _one_line(line) for line in text.splitlines())
