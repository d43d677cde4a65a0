"""`stats`, `clear`, `delete`: what the log holds, and less of it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from flowwatch_client.cli.opening import (
    CommandFailed,
    Commands,
    WrongUsage,
    moment,
    open_log,
    settings_of,
)
from flowwatch_client.cli.terminal import (
    Column,
    Table,
    coloured,
    count,
    err,
    local_time,
    number,
    out,
    printable,
    size,
)
from flowwatch_client.log.reading import Filter, Summary, summary
from flowwatch_client.log.reading import delete as delete_found


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    stats = commands.add_parser(
        "stats",
        help="how many records were accepted, sent, wait, were refused or dropped",
        description="Counts what the log holds, what was sent and what waits.",
        parents=[common],
    )
    stats.add_argument("--json", action="store_true", help="as one JSON object")
    stats.set_defaults(command=show_stats)

    clearing = commands.add_parser(
        "clear",
        help="delete executions",
        description="Deletes executions with their nodes. What of them still waits to be sent"
        " counts as dropped.",
        parents=[common],
    )
    clearing.add_argument("workflow", nargs="?", help="of the workflow with this id")
    clearing.add_argument("--all", action="store_true", help="of all workflows")
    clearing.add_argument(
        "--before", type=moment, metavar="TIME", help="only that began before: 30d, a date"
    )
    clearing.add_argument("--yes", action="store_true", help="don't ask")
    clearing.set_defaults(command=clear)

    deleting = commands.add_parser(
        "delete",
        help="delete one execution",
        description="Deletes one execution.",
        parents=[common],
    )
    deleting.add_argument("id", help="its whole id")
    deleting.set_defaults(command=delete)


# --- stats ----------------------------------------------------------------------------------------


def show_stats(options: argparse.Namespace) -> int:
    """0, or 1 when the sum does not hold: then the file was changed by something else."""
    log = open_log(options)
    found = summary(log)
    if options.json:
        out(json.dumps(_stats_document(str(settings_of(options).path), found), indent=2))
    else:
        _print_stats(str(settings_of(options).path), found)
    return 0 if found.holds else 1


def _stats_document(path: str, found: Summary) -> dict[str, object]:
    return {
        "log": path,
        "records": {
            **dataclasses.asdict(found.counts),
            "lost": found.lost,
            "droppedForRoom": found.dropped_for_room,
        },
        "holds": found.holds,
        "executions": found.executions,
        "nodes": found.nodes,
        "oldest": found.oldest,
        "newest": found.newest,
        "oldestWaiting": found.oldest_waiting,
        "deadLetters": [dataclasses.asdict(each) for each in found.refusals],
        "bytes": found.bytes,
        "freeBytes": found.free_bytes,
    }


def _print_stats(path: str, found: Summary) -> None:
    counts = found.counts
    out(f"Log         {printable(path)}")
    out(f"Size        {size(found.bytes)}, of which {size(found.free_bytes)} are free for new ones")
    by_status = ", ".join(f"{number(each)} {status}" for status, each in found.executions.items())
    out(f"Executions  {number(sum(found.executions.values()))}{by_status and f' ({by_status})'}")
    out(f"Nodes       {number(found.nodes)}")
    if found.oldest:
        out(f"From        {local_time(found.oldest)} to {local_time(found.newest)}")
    out()
    table = Table(Column("Records"), Column("", right=True), Column("", flexible=True))
    waits = f"the oldest since {local_time(found.oldest_waiting)}" if found.oldest_waiting else ""
    table.add("accepted", number(counts.accepted), "committed to the log")
    table.add("sent", number(counts.sent), "the server named them as stored")
    table.add("waiting", number(counts.waiting), waits)
    table.add("dead letters", number(counts.dead), "refused by the server for good")
    table.add("dropped", number(counts.dropped), _dropped(found))
    if found.lost:
        table.add("lost", number(found.lost), "never accepted: the log took nothing")
    for line in table.lines():
        out(line)
    sum_text = (
        f"{counts.accepted} = {counts.sent} + {counts.waiting} + {counts.dead} + {counts.dropped}"
    )
    if found.holds:
        out(
            f"{coloured('ok', 'green')}    accepted = sent + waiting + dead letters + dropped: {sum_text}"
        )
    else:
        out(
            f"{coloured('fail', 'red')}  the sum does not hold, something else wrote: not {sum_text}"
        )
    for each in found.refusals:
        out()
        out(f"Refused {count(each.records, 'record')} of {count(each.executions, 'execution')},")
        out(f"  the first {local_time(each.oldest)}: {coloured(printable(each.reason), 'red')}")
    if found.refusals:
        out("  `flowwatch-client retry-dead` lets them be sent again.")


def _dropped(found: Summary) -> str:
    if not found.dropped_for_room:
        return "deleted before they were sent"
    return f"{number(found.dropped_for_room)} of them by the bound on the log's size"


# --- clear, delete --------------------------------------------------------------------------------


def clear(options: argparse.Namespace) -> int:
    if (options.workflow is None) == (not options.all):
        raise WrongUsage("Name the workflow whose executions are to be deleted, or give --all.")
    log = open_log(options)
    of = "all workflows" if options.all else f"workflow {options.workflow!r}"
    when = f" that began before {local_time(options.before)}" if options.before else ""
    if not options.yes:
        _ask(f"Delete the executions of {of}{when}?")
    deleted = delete_found(log, Filter(workflow_id=options.workflow, before=options.before))
    err(f"{count(deleted, 'execution')} deleted.")
    return 0


def _ask(question: str) -> None:
    """Raises CommandFailed when it was not answered by yes."""
    if not sys.stdin.isatty():
        raise CommandFailed(f"{question} Give --yes: there is nobody to ask.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed("Nothing was deleted.")


def delete(options: argparse.Namespace) -> int:
    if not open_log(options).delete_execution(options.id):
        raise CommandFailed(f"There is no execution {options.id!r}.")
    err("1 execution deleted.")
    return 0
