"""Log lines of a workflow, kept with its execution."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from flowwatch_client.capture.place import inside


class FlowwatchHandler(logging.Handler):
    """Keeps the last 200 lines that are logged while an execution runs, with the node that said them.

        logging.getLogger().addHandler(FlowwatchHandler(logging.INFO))

    Lines of this library itself are left out.
    """

    def emit(self, record: logging.LogRecord) -> None:
        place = inside()
        if place is None or record.name.partition(".")[0] == "flowwatch_client":
            return
        try:
            line = {
                "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
                "level": record.levelname,
                "logger": record.name,
                "message": self.format(record),
            }
            if place.node_id is not None:
                line["nodeId"] = place.node_id
            place.execution.add_line(line)
        except BaseException as error:  # logging would print it into the workflow's output
            place.execution.client.complain("keep a log line", error)
