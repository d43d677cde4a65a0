"""`list`, `show`, `tail`, `export`: executions for people and for programs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from flowwatch_client.cli.opening import CommandFailed, Commands, moment, natural, open_log
from flowwatch_client.cli.terminal import (
    Column,
    Table,
    coloured,
    count,
    duration,
    err,
    local_time,
    of_status,
    out,
    printable,
)
from flowwatch_client.log.document import execution_document
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import Filter, Follower, find, ids_beginning, iterate
from flowwatch_client.rows import ERROR, ExecutionRow, NodeRow

_LOOK_SECONDS = 0.5
_SHORTEST_ID = 8
_VALUE_LINES = 12
_WORDS = {"failed": ERROR, "failure": ERROR, "cancelled": "canceled"}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    filters = argparse.ArgumentParser(add_help=False)
    filters.add_argument("-w", "--workflow", help="only of the workflow with this id or name")
    filters.add_argument("-s", "--status", help="only with this status: success, error, running …")
    filters.add_argument(
        "--since", type=moment, metavar="TIME", help="only that began then or later: 2h, 7d, a date"
    )
    filters.add_argument(
        "--before", type=moment, metavar="TIME", help="only that began before that"
    )

    listing = commands.add_parser(
        "list",
        help="the last executions",
        description="Lists executions, the latest start first.",
        parents=[common, filters],
    )
    listing.add_argument("-n", "--limit", type=natural, default=20, help="how many (20)")
    listing.add_argument("--offset", type=natural, default=0, help="how many to leave out before")
    listing.add_argument("--json", action="store_true", help="NDJSON: one execution per line")
    listing.set_defaults(command=list_executions)

    showing = commands.add_parser(
        "show",
        help="one execution with its nodes, inputs, outputs and errors",
        description="Shows one execution.",
        parents=[common],
    )
    showing.add_argument(
        "id", help="its id or how that begins; “last”: the latest, “last-error”: that failed"
    )
    showing.add_argument("--json", action="store_true", help="all of it as one JSON object")
    showing.add_argument("--full", action="store_true", help="long values whole")
    showing.set_defaults(command=show_execution)

    tailing = commands.add_parser(
        "tail",
        help="follow executions as they begin and end",
        description="Prints executions as they begin and end, until Ctrl-C.",
        parents=[common, filters],
    )
    tailing.add_argument("-n", type=natural, default=10, help="how many earlier ones first (10)")
    tailing.add_argument("--json", action="store_true", help="NDJSON: one execution per line")
    tailing.set_defaults(command=tail_executions)

    exporting = commands.add_parser(
        "export",
        help="everything as NDJSON",
        description="Writes executions with their nodes as NDJSON, in the order of their starts.",
        parents=[common, filters],
    )
    exporting.add_argument("-o", "--output", metavar="FILE", help="a new file, not standard output")
    exporting.set_defaults(command=export_executions)


def _filter(options: argparse.Namespace) -> Filter:
    return Filter(
        workflow=options.workflow,
        status=_WORDS.get(options.status, options.status),
        since=options.since,
        before=options.before,
    )


# --- list -----------------------------------------------------------------------------------------


def list_executions(options: argparse.Namespace) -> int:
    log = open_log(options)
    found = find(log, _filter(options), limit=options.limit, offset=options.offset)
    if options.json:
        for row in found:
            _out_json(_whole(log, row))
    elif found:
        for line in _table(found).lines():
            out(line)
        if len(found) == options.limit:
            err(f"There may be more: --limit, or --offset {options.offset + options.limit}.")
    else:
        err("There is no such execution.")
    return 0


def _table(rows: Sequence[ExecutionRow]) -> Table:
    table = Table(
        Column("Started"),
        Column("Status", status=True),
        Column("Duration", right=True),
        Column("Workflow", flexible=True),
        Column("Id"),
        Column("Error", flexible=True),
    )
    short = _short_ids([row.id for row in rows])
    for row in rows:
        table.add(
            local_time(row.started_at),
            row.status,
            duration(row.duration_ms),
            row.workflow_name,
            row.id[:short],
            _first_line(row.error_message),
        )
    return table


def _short_ids(ids: Sequence[str]) -> int:
    """How many characters tell these apart, and likely others too."""
    distinct = len(set(ids))
    length = _SHORTEST_ID
    while len({each[:length] for each in ids}) < distinct:
        length += 1
    return length if length == _SHORTEST_ID else length + 2


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


# --- show -----------------------------------------------------------------------------------------


def show_execution(options: argparse.Namespace) -> int:
    log = open_log(options)
    found = log.get_execution(_resolve(log, options.id))
    if found is None:  # deleted meanwhile
        raise CommandFailed(f"There is no execution {options.id!r}.")
    if options.json:
        out(json.dumps(execution_document(*found), ensure_ascii=False, indent=2))
        return 0
    _show(*found, full=options.full)
    return 0


def _resolve(log: Log, said: str) -> str:
    """The id that was meant. Raises CommandFailed."""
    if said in ("last", "last-error"):
        wanted = Filter(status=ERROR) if said == "last-error" else Filter()
        latest = find(log, wanted, limit=1)
        if latest:
            return latest[0].id
    ids = ids_beginning(log, said)
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise CommandFailed(f"There is no execution {said!r}; `flowwatch-client list` names them.")
    raise CommandFailed(f"{said!r} may be any of these: {', '.join(ids)}.")


def _show(execution: ExecutionRow, nodes: Sequence[NodeRow], *, full: bool) -> None:
    document = execution_document(execution, [])
    out(coloured(printable(execution.workflow_name), "bold"))
    facts = {
        "Status": coloured(printable(execution.status), of_status(execution.status)),
        "Id": printable(execution.id),
        "Workflow": printable(execution.workflow_id),
        "Started": local_time(execution.started_at),
        "Ended": local_time(execution.completed_at),
        "Duration": duration(execution.duration_ms),
        "Trigger": printable(execution.trigger_type),
        "Attempt": "" if execution.attempt is None else str(execution.attempt),
        "Retry of": printable(execution.retry_of or ""),
        "Parent": printable(execution.parent_execution_id or ""),
        "Version": printable(execution.version or ""),
        "Tags": printable(", ".join(map(str, document.get("tags") or []))),
        "Keys": printable(_compact(document["keys"])) if "keys" in document else "",
    }
    for name, fact in facts.items():
        if fact:
            out(f"  {name:<9} {fact}")
    _show_value("Trigger data", document["trigger"].get("data"), full=full)
    _show_error(execution.error_message, execution.error_stack, execution.error_node_id)
    _show_value("Result", document.get("result"), full=full)
    if nodes:
        out()
        for line in _node_table(nodes).lines():
            out(line)
    for node in nodes:
        _show_node(node, full=full)


def _node_table(nodes: Sequence[NodeRow]) -> Table:
    table = Table(
        Column("Node", flexible=True),
        Column("Status", status=True),
        Column("Duration", right=True),
        Column("Started"),
        Column("Error", flexible=True),
    )
    for node in nodes:
        table.add(
            _title(node),
            node.status,
            duration(node.duration_ms),
            local_time(node.started_at),
            _first_line(node.error_message),
        )
    return table


def _title(node: NodeRow) -> str:
    run = f" (run {node.run_index + 1})" if node.run_index else ""
    attempt = f" (attempt {node.attempt})" if (node.attempt or 1) > 1 else ""
    return f"{node.node_name}{run}{attempt}"


def _show_node(node: NodeRow, *, full: bool) -> None:
    out()
    title = coloured(printable(_title(node)), "bold")
    out(f"{title}  {coloured(printable(node.status), of_status(node.status))}")
    document = execution_document(_NO_EXECUTION, [node])["nodeExecutions"][0]
    source = document.get("source")
    if isinstance(source, dict):
        out(f"  {printable(str(source.get('file')))}:{printable(str(source.get('line')))}")
    _show_value("Input", document.get("input"), full=full)
    _show_value("Output", document.get("output"), full=full)
    _show_error(node.error_message, node.error_stack)


_NO_EXECUTION = ExecutionRow("", "", "", "", "")


def _show_value(name: str, value: Any, *, full: bool) -> None:
    if value is None:
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    lines = printable(text, lines=True).splitlines() or [""]
    if len(lines) == 1:
        out(f"  {name}: {lines[0]}")
        return
    out(f"  {name}:")
    shown = lines if full else lines[:_VALUE_LINES]
    for line in shown:
        out(f"    {line}")
    if len(shown) < len(lines):
        out(coloured(f"    … {count(len(lines) - len(shown), 'line')} more: --full", "dim"))


def _show_error(message: str | None, stack: str | None, node_id: str | None = None) -> None:
    if message is None and stack is None:
        return
    place = f" in {printable(node_id)}" if node_id else ""
    first, *others = printable(message or "", lines=True).splitlines() or [""]
    out(f"  Error{place}: {coloured(first, 'red')}")
    for line in others:
        out(f"    {coloured(line, 'red')}")
    for line in printable(stack or "", lines=True).splitlines():
        out(f"    {line}")


# --- tail -----------------------------------------------------------------------------------------


def tail_executions(options: argparse.Namespace) -> int:
    log = open_log(options)
    wanted = _filter(options)
    follower = Follower(log, wanted)
    try:
        for row in reversed(find(log, wanted, limit=options.n)):
            _tell(log, row, as_json=options.json)
        while True:
            sys.stdout.flush()
            time.sleep(_LOOK_SECONDS)
            for row in follower.look():
                _tell(log, row, as_json=options.json)
    except KeyboardInterrupt:
        return 0


def _tell(log: Log, row: ExecutionRow, *, as_json: bool) -> None:
    if as_json:
        _out_json(_whole(log, row))
        return
    status = coloured(f"{printable(row.status):<9}", of_status(row.status))
    parts = [
        local_time(row.started_at),
        status,
        f"{duration(row.duration_ms):>11}",
        printable(row.workflow_name),
        coloured(printable(row.id), "dim"),
        printable(_first_line(row.error_message)),
    ]
    out("  ".join(part for part in parts if part))


# --- export ---------------------------------------------------------------------------------------


def export_executions(options: argparse.Namespace) -> int:
    log = open_log(options)
    wanted = _filter(options)
    if options.output is None:
        _export(log, wanted, sys.stdout)
        return 0
    try:
        with Path(options.output).open("x", encoding="utf-8") as file:
            exported = _export(log, wanted, file)
    except FileExistsError as error:
        raise CommandFailed(f"{options.output} is there already; name a new file.") from error
    err(f"{count(exported, 'execution')} written to {options.output}.")
    return 0


def _export(log: Log, wanted: Filter, file: TextIO) -> int:
    exported = 0
    for row, nodes in iterate(log, wanted):
        file.write(f"{_compact(execution_document(row, nodes))}\n")
        exported += 1
    return exported


def _whole(log: Log, row: ExecutionRow) -> dict[str, Any]:
    found = log.get_execution(row.id)
    return execution_document(*(found or (row, [])))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _out_json(document: dict[str, Any]) -> None:
    out(_compact(document))
