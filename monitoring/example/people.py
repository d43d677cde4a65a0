"""Invented customers, orders and texts, drawn from a given random generator."""

from __future__ import annotations

import random
from typing import Any

FIRST_NAMES = (
    "Ada", "Amélie", "Björn", "Chidi", "Dana", "Elif", "Femi", "Grażyna", "Hiro", "Ines", "Jonas",
    "Kateryna", "Linh", "Mateo", "Noor", "Oskar", "Priya", "Rosa", "Søren", "Tariq", "Yuki", "Zoë",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Berg", "Castillo", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ivanova",
    "Jensen", "Kowalska", "Lindqvist", "Moreau", "Nakamura", "Okafor", "Petrov", "Rossi", "Schäfer",
    "Tanaka", "Uzun", "Virtanen", "Weber", "Yılmaz", "Zhang",
)  # fmt: skip
COMPANIES = (
    "Northwind Dental", "Blue Harbor Realty", "Casa Verde", "Kestrel Logistics", "Lumen Fitness",
    "Maple & Sons", "Orchid Spa", "Peak Roofing", "Quill Legal", "Riverside Vet", "上海明光贸易",
    "深圳云帆科技", "مركز النور", "Atelier Éclair",
)  # fmt: skip
PRODUCTS = (
    ("Standing desk", 489.0), ("Desk lamp", 59.9), ("Office chair", 329.0), ("Monitor arm", 119.0),
    ("Notebook, dotted", 12.5), ("Fountain pen", 84.0), ("Cable tray", 34.9), ("Footrest", 45.0),
)  # fmt: skip
CITIES = ("Berlin", "Lyon", "Porto", "Kraków", "Austin", "Toronto", "Osaka", "上海")
TICKETS = (
    (
        "The invoice PDF is empty",
        "Since this morning every invoice that I download is a blank page.",
    ),
    (
        "Cannot sign in after password reset",
        "The reset link works, but then it says wrong password.",
    ),
    (
        "Double charge in October",
        "My card was charged twice for the same order, please refund one.",
    ),
    ("API returns 500 on export", "POST /exports fails about every third time since Tuesday."),
    ("Change the delivery address", "We moved. The new address is in my profile already."),
    ("Feature request: dark mode", "My eyes would thank you."),
)


def customer(rng: random.Random) -> dict[str, Any]:
    """A person with contact data at a reserved domain."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    number = rng.randrange(10_000, 99_999)
    return {
        "id": f"cus_{number}",
        "name": f"{first} {last}",
        "email": f"customer.{number}@example.com",
        "company": rng.choice(COMPANIES),
        "city": rng.choice(CITIES),
    }


def order(rng: random.Random) -> dict[str, Any]:
    """An order with one to four lines and its total."""
    bought = [(*product, rng.randint(1, 3)) for product in rng.sample(PRODUCTS, rng.randint(1, 4))]
    return {
        "orderId": f"SO-{rng.randrange(100_000, 999_999)}",
        "customer": customer(rng),
        "lines": [{"product": p, "unitPrice": price, "quantity": n} for p, price, n in bought],
        "currency": "EUR",
        "total": round(sum(price * n for _, price, n in bought), 2),
    }


def lead(rng: random.Random) -> dict[str, Any]:
    """What a landing page's form sends."""
    who = customer(rng)
    return {
        "contact": who,
        "form": rng.choice(("Free consultation", "Price list", "Book a demo")),
        "utm": {
            "source": rng.choice(("google", "facebook", "newsletter")),
            "campaign": "autumn-26",
        },
        "message": rng.choice(("Please call me back.", "How much is it for two locations?", "")),
        "consent": True,
    }


def ticket(rng: random.Random) -> dict[str, Any]:
    """A support request as a help desk sends it."""
    subject, text = rng.choice(TICKETS)
    return {
        "ticket": rng.randrange(40_000, 60_000),
        "from": customer(rng),
        "subject": subject,
        "text": text,
        "channel": rng.choice(("mail", "chat", "form")),
    }
