"""The workflows of "Example Agency": what they are made of and how they fail."""

from __future__ import annotations

import random
from typing import Any

from monitoring.example import people
from monitoring.example.model import (
    ExampleEnvironment,
    ExampleFailure,
    ExampleNode,
    ExampleWorkflow,
    MakeOutput,
    Rhythm,
)

ENVIRONMENTS = (
    ExampleEnvironment("n8n-eu", "n8n EU", "n8n", "https://n8n.example.com"),
    ExampleEnvironment("gohighlevel", "GoHighLevel", "gohighlevel", "https://crm.example.com"),
    ExampleEnvironment("python", "Python", "python", ""),
)

REGRESSION_HOURS = 21.0
"""How long ago "Invoice sync" got the version that fails."""


def _same(rng: random.Random, given: Any) -> Any:
    """Pass on what came in."""
    return given


def _some(make: MakeOutput, low: int, high: int) -> MakeOutput:
    """Make a list of `low` to `high` items."""
    return lambda rng, given: [make(rng, given) for _ in range(rng.randint(low, high))]


def _answer(**fields: Any) -> MakeOutput:
    """Make one item with these fields."""
    return lambda rng, given: [{**fields}]


def _order(rng: random.Random, given: Any) -> Any:
    return people.order(rng)


def _customer(rng: random.Random, given: Any) -> Any:
    return people.customer(rng)


def _request(rng: random.Random, given: Any) -> Any:
    """A request with its header: shows that secrets never reach the database."""
    return [
        {
            "url": "https://shop.example.com/api/orders",
            "query": {"updatedSince": "2026-11-01", "page": rng.randint(1, 9)},
            "headers": {
                "Authorization": "Bearer shop-live-3f9a1c7e5d2b4a68",
                "Accept": "application/json",
            },
        }
    ]


def _triage(rng: random.Random, given: Any) -> Any:
    return [
        {
            "category": rng.choice(("billing", "bug", "account", "feature request")),
            "urgency": rng.choice(("low", "normal", "normal", "high")),
            "confidence": round(rng.uniform(0.62, 0.99), 2),
            "summary": "The customer reports a problem and asks for a quick answer.",
            "usage": {
                "prompt_tokens": rng.randint(380, 1_900),
                "completion_tokens": rng.randint(40, 220),
            },
        }
    ]


def _catalogue(rng: random.Random, given: Any) -> Any:
    """A big answer: some are cut when stored (over 1 MB)."""
    count = 9_000 if rng.random() < 0.02 else rng.randint(8, 24)
    first = rng.randrange(0, 400)
    return [
        {
            "sku": f"SKU-{number:06}",
            "title": people.PRODUCTS[number % len(people.PRODUCTS)][0],
            "stock": (first + number * 37) % 400,
            "location": f"A-{number % 40:02}",
            "description": "Solid oak, oiled, two years of warranty, ships within three days.",
        }
        for number in range(count)
    ]


JS_STACK = """TypeError: Cannot read properties of undefined (reading 'email')
    at Object.<anonymous> (evalmachine.<anonymous>:14:31)
    at runCode (/opt/n8n/packages/core/src/code-runner.ts:88:21)
    at processTicksAndRejections (node:internal/process/task_queues:95:5)
    at WorkflowExecute.runNode (/opt/n8n/packages/core/src/workflow-execute.ts:1042:19)"""

TIMEOUT_STACK = """AxiosError: timeout of 30000ms exceeded
    at createError (/opt/n8n/node_modules/axios/lib/core/createError.js:16:15)
    at Redirectable.handleTimeout (/opt/n8n/node_modules/axios/lib/adapters/http.js:380:16)
    at RedirectableRequest.emit (node:events:513:28)
    at Timeout.<anonymous> (/opt/n8n/node_modules/follow-redirects/index.js:169:12)"""


def _python_stack(depth: int) -> str:
    """A traceback as deep as recursive code makes it."""
    frames = "\n".join(
        f'  File "/srv/backup/archive.py", line {40 + level % 7}, in walk\n    yield from go(path)'
        for level in range(depth)
    )
    return (
        "Traceback (most recent call last):\n"
        '  File "/srv/backup/nightly.py", line 112, in main\n    archive.write(source)\n'
        f"{frames}\n"
        "OSError: [Errno 28] No space left on device: '/var/backups/archive.tar.zst'"
    )


SHIPPING_LABEL = ExampleWorkflow(
    external_id="wf-shipping-label",
    name="Print shipping label",
    environment="n8n-eu",
    trigger="execution",
    per_day=0,
    rhythm=Rhythm.OFFICE,
    nodes=(
        ExampleNode("start", "When called", "n8n-nodes-base.executeWorkflowTrigger", 2, _same),
        ExampleNode("carrier", "Choose carrier", "n8n-nodes-base.switch", 4, _same),
        ExampleNode(
            "label",
            "Create label",
            "n8n-nodes-base.httpRequest",
            900,
            _answer(carrier="DHL", format="PDF", pages=1),
        ),
        ExampleNode(
            "print", "Send to printer", "n8n-nodes-base.httpRequest", 260, _answer(queued=True)
        ),
    ),
    failures=(
        ExampleFailure(
            "label",
            0.03,
            "The carrier rejected the address: postal code 0000 is not valid for DE",
            http_code=400,
        ),
    ),
    version="3",
    tags=("warehouse",),
)

WORKFLOWS = (
    ExampleWorkflow(
        external_id="wf-invoice-sync",
        name="Invoice sync",
        environment="n8n-eu",
        trigger="schedule",
        per_day=48,
        rhythm=Rhythm.EVENLY,
        nodes=(
            ExampleNode(
                "schedule",
                "Every 30 minutes",
                "n8n-nodes-base.scheduleTrigger",
                2,
                _answer(due=True),
            ),
            ExampleNode("settings", "Build request", "n8n-nodes-base.set", 5, _request),
            ExampleNode(
                "fetch-orders",
                "Fetch orders",
                "n8n-nodes-base.httpRequest",
                420,
                _some(_order, 1, 5),
            ),
            ExampleNode("map", "Map items", "n8n-nodes-base.code", 30, _same),
            ExampleNode(
                "book", "Create invoices", "n8n-nodes-base.httpRequest", 780, _answer(created=True)
            ),
        ),
        failures=(
            ExampleFailure(
                "fetch-orders",
                0.82,
                "Connection timed out after 30000 ms",
                TIMEOUT_STACK,
                duration_ms=30_000,
                since_hours=REGRESSION_HOURS,
                retried=0.25,
            ),
            ExampleFailure(
                "book",
                0.012,
                "Request failed with status code 503: bookkeeping is being maintained",
                http_code=503,
                retried=0.9,
            ),
        ),
        version="7",
        new_version="8",
        new_since_hours=REGRESSION_HOURS,
        tags=("finance",),
        running_now=1,
    ),
    ExampleWorkflow(
        external_id="lead-intake",
        name="Lead intake → CRM",
        environment="gohighlevel",
        trigger="webhook",
        per_day=46,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.lead,
        nodes=(
            ExampleNode("form", "Form submitted", "trigger.form", 3, lambda rng, given: [given]),
            ExampleNode(
                "validate", "Check consent and mail address", "action.condition", 12, _same
            ),
            ExampleNode("contact", "Create or update contact", "action.contact", 340, _same),
            ExampleNode(
                "task",
                "Task for sales",
                "action.task",
                190,
                _answer(assigned="sales", due="tomorrow"),
            ),
        ),
        failures=(
            ExampleFailure(
                "validate",
                0.007,
                "Validation failed: 'email' must be a valid e-mail address",
                http_code=422,
            ),
            ExampleFailure(
                "contact",
                0.004,
                "429 Too Many Requests: 100 requests per 10 s",
                http_code=429,
                retried=1.0,
            ),
        ),
        version="12",
        tags=("sales",),
    ),
    ExampleWorkflow(
        external_id="backup.nightly",
        name="Nightly backup",
        environment="python",
        trigger="cron",
        per_day=1,
        rhythm=Rhythm.ONCE_A_DAY,
        nodes=(
            ExampleNode(
                "snapshot", "Snapshot of the database", "step", 94_000, _answer(bytes=8_412_334_080)
            ),
            ExampleNode(
                "compress", "Compress", "step", 212_000, _answer(bytes=1_204_551_680, ratio=0.14)
            ),
            ExampleNode(
                "upload",
                "Upload to cold storage",
                "step",
                431_000,
                _answer(parts=144, verified=True),
            ),
        ),
        failures=(
            ExampleFailure(
                "compress",
                0.5,
                "OSError: [Errno 28] No space left on device: '/var/backups/archive.tar.zst'",
                _python_stack(160),
                since_hours=20 * 24,
                until_hours=17 * 24,
            ),
        ),
        version="2.4.1",
        tags=("operations",),
    ),
    ExampleWorkflow(
        external_id="wf-ticket-triage",
        name="Ticket triage (AI)",
        environment="n8n-eu",
        trigger="webhook",
        per_day=26,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.ticket,
        nodes=(
            ExampleNode(
                "hook", "New ticket", "n8n-nodes-base.webhook", 3, lambda rng, given: [given]
            ),
            ExampleNode(
                "similar",
                "Find similar tickets",
                "n8n-nodes-base.postgres",
                85,
                _some(_customer, 1, 3),
            ),
            ExampleNode(
                "model", "Classify with AI", "@n8n/n8n-nodes-langchain.agent", 3_900, _triage
            ),
            ExampleNode("route", "Route by urgency", "n8n-nodes-base.switch", 4, _same),
            ExampleNode(
                "slack",
                "Tell the team",
                "n8n-nodes-base.slack",
                310,
                _answer(ok=True, channel="#support"),
            ),
        ),
        failures=(
            ExampleFailure(
                "model",
                0.02,
                "429 Too Many Requests: rate limit reached for requests per minute",
                http_code=429,
                retried=0.95,
            ),
            ExampleFailure(
                "route", 0.006, "Cannot read properties of undefined (reading 'email')", JS_STACK
            ),
        ),
        version="5",
        tags=("support", "ai"),
        running_now=2,
    ),
    ExampleWorkflow(
        external_id="wf-customer-sync",
        name="Customer 客户同步",
        environment="n8n-eu",
        trigger="schedule",
        per_day=24,
        rhythm=Rhythm.EVENLY,
        nodes=(
            ExampleNode(
                "hourly", "Every hour", "n8n-nodes-base.scheduleTrigger", 2, _answer(due=True)
            ),
            ExampleNode(
                "read",
                "Read customers 读取客户",
                "n8n-nodes-base.httpRequest",
                650,
                _some(_customer, 4, 8),
            ),
            ExampleNode(
                "loop", "Loop over batches", "n8n-nodes-base.splitInBatches", 3, _same, runs=3
            ),
            ExampleNode(
                "upsert",
                "Write to CRM 写入",
                "n8n-nodes-base.httpRequest",
                480,
                _answer(upserted=2),
                runs=3,
            ),
            ExampleNode("report", "Count", "n8n-nodes-base.code", 8, _answer(done=True)),
        ),
        failures=(
            ExampleFailure("upsert", 0.04, "connect ECONNREFUSED 203.0.113.14:443", partial=True),
            ExampleFailure(
                "read", 0.02, "客户接口返回错误：签名无效 (invalid signature)", http_code=401
            ),
        ),
        version="21",
        tags=("crm", "中国"),
    ),
    ExampleWorkflow(
        external_id="wf-subscriptions",
        name="Subscription billing",
        environment="n8n-eu",
        trigger="webhook",
        per_day=9,
        rhythm=Rhythm.OFFICE,
        trigger_data=lambda rng: {"event": "subscription.renewal", **people.order(rng)},
        nodes=(
            ExampleNode(
                "hook", "Renewal is due", "n8n-nodes-base.webhook", 3, lambda rng, given: [given]
            ),
            ExampleNode(
                "charge",
                "Charge card",
                "n8n-nodes-base.stripe",
                1_250,
                _answer(status="succeeded", captured=True),
            ),
            ExampleNode(
                "invoice", "Send invoice", "n8n-nodes-base.emailSend", 420, _answer(accepted=1)
            ),
        ),
        failures=(
            ExampleFailure(
                "charge",
                0.07,
                "Your card was declined: insufficient funds (card_declined)",
                http_code=402,
                retried=0.4,
            ),
            ExampleFailure(
                "charge",
                0.015,
                "Your card has expired: charge rejected (expired_card)",
                http_code=402,
            ),
        ),
        version="4",
        tags=("finance", "payments"),
    ),
    ExampleWorkflow(
        external_id="appointment-reminders",
        name="Appointment reminders",
        environment="gohighlevel",
        trigger="schedule",
        per_day=20,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.customer,
        nodes=(
            ExampleNode(
                "due", "Appointment tomorrow", "trigger.appointment", 3, lambda rng, given: [given]
            ),
            ExampleNode(
                "text",
                "Write message",
                "action.template",
                15,
                _answer(text="See you tomorrow at 10:30!"),
            ),
            ExampleNode("sms", "Send SMS", "action.sms", 560, _answer(status="sent", segments=1)),
        ),
        failures=(
            ExampleFailure(
                "sms",
                0.012,
                "The phone number is not valid: it must be in E.164 format",
                http_code=400,
            ),
            ExampleFailure(
                "sms",
                0.8,
                "401 Unauthorized: the access token has expired",
                http_code=401,
                since_hours=9 * 24 + 5,
                until_hours=9 * 24,
            ),
        ),
        version="6",
        tags=("patients",),
    ),
    ExampleWorkflow(
        external_id="wf-weekly-report",
        name="Morning report to Slack",
        environment="n8n-eu",
        trigger="schedule",
        per_day=1,
        rhythm=Rhythm.ONCE_A_DAY,
        hour=7,
        nodes=(
            ExampleNode(
                "morning", "At 07:00", "n8n-nodes-base.scheduleTrigger", 2, _answer(due=True)
            ),
            ExampleNode(
                "numbers",
                "Read yesterday's numbers",
                "n8n-nodes-base.postgres",
                1_900,
                _answer(orders=312, revenue=48_120.5),
            ),
            ExampleNode(
                "chart",
                "Draw chart",
                "n8n-nodes-base.code",
                240,
                _answer(mimeType="image/png", width=1200),
            ),
            ExampleNode(
                "post", "Post to #management", "n8n-nodes-base.slack", 380, _answer(ok=True)
            ),
        ),
        version="9",
        tags=("reports",),
    ),
    ExampleWorkflow(
        external_id="stock.import",
        name="Inventory import",
        environment="python",
        trigger="cron",
        per_day=6,
        rhythm=Rhythm.EVENLY,
        nodes=(
            ExampleNode("download", "Download catalogue", "step", 2_300, _catalogue),
            ExampleNode("check", "Validate rows", "step", 700, _answer(rows=9_120, rejected=3)),
            ExampleNode("store", "Store", "step", 1_850, _answer(updated=412)),
        ),
        failures=(
            ExampleFailure(
                "check",
                0.09,
                "3 rows rejected: column 'stock' must be a whole number ≥ 0",
                partial=True,
            ),
            ExampleFailure(
                "download", 0.02, "404 Not Found: /export/catalogue-latest.csv", http_code=404
            ),
        ),
        version="1.18.0",
        tags=("warehouse",),
    ),
    ExampleWorkflow(
        external_id="newsletter-signup",
        name="Newsletter sign-up",
        environment="gohighlevel",
        trigger="webhook",
        per_day=16,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.lead,
        nodes=(
            ExampleNode("form", "Form submitted", "trigger.form", 3, lambda rng, given: [given]),
            ExampleNode("tag", "Add tag", "action.tag", 120, _answer(tag="newsletter")),
            ExampleNode("mail", "Ask for confirmation", "action.email", 390, _answer(sent=True)),
        ),
        failures=(ExampleFailure("mail", 0.01, "connect ETIMEDOUT 198.51.100.7:587"),),
        version="2",
    ),
    ExampleWorkflow(
        external_id="wf-contract-approval",
        name="Contract approval",
        environment="n8n-eu",
        trigger="form",
        per_day=2.5,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.order,
        nodes=(
            ExampleNode(
                "form",
                "Contract handed in",
                "n8n-nodes-base.formTrigger",
                3,
                lambda rng, given: [given],
            ),
            ExampleNode(
                "pdf",
                "Make PDF",
                "n8n-nodes-base.httpRequest",
                1_400,
                _answer(pages=12, bytes=184_220),
            ),
            ExampleNode(
                "wait", "Wait for signature", "n8n-nodes-base.wait", 5_400_000, _same, waits=True
            ),
            ExampleNode(
                "file",
                "File contract",
                "n8n-nodes-base.googleDrive",
                900,
                _answer(folder="Contracts/2026"),
            ),
        ),
        failures=(
            ExampleFailure(
                "file", 0.05, "The caller does not have permission (403 Forbidden)", http_code=403
            ),
        ),
        version="3",
        tags=("legal",),
        waiting_now=2,
    ),
    ExampleWorkflow(
        external_id="wf-order-to-warehouse",
        name="Order → warehouse",
        environment="n8n-eu",
        trigger="webhook",
        per_day=11,
        rhythm=Rhythm.OFFICE,
        trigger_data=people.order,
        nodes=(
            ExampleNode(
                "hook", "Order paid", "n8n-nodes-base.webhook", 3, lambda rng, given: [given]
            ),
            ExampleNode(
                "stock", "Reserve stock", "n8n-nodes-base.postgres", 45, _answer(reserved=True)
            ),
            ExampleNode(
                "label",
                "Print shipping label",
                "n8n-nodes-base.executeWorkflow",
                1_300,
                _answer(queued=True),
            ),
            ExampleNode(
                "notify", "Tell the customer", "n8n-nodes-base.emailSend", 350, _answer(accepted=1)
            ),
        ),
        failures=(
            ExampleFailure(
                "stock", 0.02, "Only 0 of 2 pieces of SKU-004711 are in stock", retried=0.5
            ),
        ),
        version="11",
        tags=("warehouse",),
        child=SHIPPING_LABEL,
        child_node="label",
    ),
)
