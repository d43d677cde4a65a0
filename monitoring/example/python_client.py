"""What a Python developer pastes first: a workflow of two nodes, one of which fails; a cron job's ping."""

from __future__ import annotations

import shlex
from typing import Final

INSTALL: Final = "pip install ./client"
URL_VARIABLE: Final = "FLOWWATCH_URL"
TOKEN_VARIABLE: Final = "FLOWWATCH_TOKEN"  # noqa: S105 - a name
FILE: Final = "invoices.py"
EXAMPLE: Final = """\
from flowwatch_client import node, workflow

@node
def read_orders():
    return [{"order": 4711, "total": 129.9}]

@node
def send_invoice(order):
    raise RuntimeError("503 Service Unavailable: the invoicing service is down")

@workflow("invoices")
def invoices():
    for order in read_orders():
        send_invoice(order)

invoices()
"""


def environment(origin: str, token: str) -> str:
    """The variables by which the client finds this server, for a shell."""
    return f"export {URL_VARIABLE}={shlex.quote(origin)}\nexport {TOKEN_VARIABLE}={token}"


def ping_command(origin: str, token: str) -> str:
    """One ping of a cron job; `token` may be a variable of the shell."""
    address = shlex.quote(f"{origin}/api/heartbeats/nightly-backup")
    return f'curl -fsS -m 10 -X POST -H "Authorization: Bearer {token}" {address}'
