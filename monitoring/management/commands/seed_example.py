"""`manage.py seed_example`: what a first start shows instead of an empty product."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from monitoring.example.seed import FirstTenant, make_first_tenant, record_example
from tenants.models import Tenant

EXAMPLE_TENANT = ("Example Agency", "example-agency")
FAILED_EXECUTION: dict[str, Any] = {
    "workflowId": "my-first-workflow",
    "workflowName": "My first workflow",
    "status": "failed",
    "durationMs": 1240,
    "trigger": {"type": "webhook", "data": {"orderId": "SO-1001"}},
    "nodeExecutions": [
        {
            "nodeId": "read",
            "nodeName": "Read order",
            "status": "success",
            "durationMs": 240,
            "output": [{"orderId": "SO-1001", "total": 129.9, "mail": "ada@example.com"}],
        },
        {
            "nodeId": "charge",
            "nodeName": "Charge card",
            "status": "failed",
            "durationMs": 1000,
            "input": [{"orderId": "SO-1001", "total": 129.9, "mail": "ada@example.com"}],
            "error": {"message": "Your card was declined: insufficient funds"},
        },
    ],
    "error": {"message": "Your card was declined: insufficient funds", "nodeId": "charge"},
}


class Command(BaseCommand):
    """Fills a database that holds no tenant yet; refuses any other."""

    help = "Make a first tenant with owner, token and thirty days of example executions."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--email", required=True, help="mail address of the owner")
        parser.add_argument("--password", help="password of the owner (default: a random one)")
        parser.add_argument(
            "--empty", action="store_true", help="tenant, owner and token only, no executions"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make everything, then print the sign-in and a command to send an execution."""
        if Tenant.objects.exists():
            raise CommandError("There are tenants already; the example is for an empty database.")
        name, slug = EXAMPLE_TENANT
        first = make_first_tenant(name, slug, options["email"], options["password"])
        if not options["empty"]:
            record_example(first.tenant, timezone.now())
        self.stdout.write(_welcome(first, options["email"]))


def _welcome(first: FirstTenant, email: str) -> str:
    password = first.password or "(the one you have)"
    return "\n".join(
        (
            f"Address   {settings.FRONTEND_URL}/",
            f"Mail      {email}",
            f"Password  {password}",
            "",
            "Send an execution that fails, then look at its node “Charge card”:",
            "",
            ingest_command(first.ingest_token),
        )
    )


def ingest_command(token: str) -> str:
    """Return a curl command, to paste into a shell, that records a failed execution."""
    body = shlex.quote(json.dumps(FAILED_EXECUTION, ensure_ascii=False, indent=1))
    return (
        f"curl {settings.FRONTEND_URL}/api/executions \\\n"
        f"  -H 'Authorization: Bearer {token}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {body}"
    )
