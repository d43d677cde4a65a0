"""What load balancers and operators are told."""

import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test import Client
from pytest_django import Settings

from config import soundness
from tenants.models import User


def test_live_asks_nobody(client: Client) -> None:
    # pytest-django forbids any query here.
    assert client.get("/health/live").json() == {"status": "ok"}


@pytest.mark.django_db
@pytest.mark.store
def test_ready_is_ok_on_a_migrated_durable_database(client: Client) -> None:
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_refuses_asynchronous_commits(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    assert client.get("/health/ready").status_code == 503
    assert soundness.unsafe_settings()[0].startswith("synchronous_commit is off")


@pytest.mark.django_db
def test_ready_refuses_another_schema(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tenants' AND name LIKE '0002%'")
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('tenants', '9_later', now())"
        )
    assert client.get("/health/ready").status_code == 503
    assert soundness.unknown_migrations() == ["tenants.9_later"]
    assert soundness.missing_migrations()[0].startswith("tenants.0002")


@pytest.mark.django_db
def test_ready_says_503_when_the_database_is_away(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def away(*_: object) -> CursorWrapper:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "cursor", away)
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/detailed").status_code == 503
    assert client.get("/health/live").status_code == 200


@pytest.mark.django_db
def test_details_are_for_staff(client: Client, settings: Settings) -> None:
    settings.MAIL_CONFIGURED = False
    assert client.get("/health/detailed").json() == {"status": "ok"}
    user = User.objects.create_user(email="vendor@example.com", password="x" * 12)
    client.force_login(user)
    assert client.get("/health/detailed").json() == {"status": "ok"}
    user.is_staff = True
    user.save()
    details = client.get("/health/detailed").json()
    assert details["problems"] == []
    assert details["mail"] == {"configured": False}
    assert details["database"]["max_connections"] >= details["database"]["connections"] > 0
    assert details["scheduler"]["worker_leads"] is False
    assert details["scheduler"]["clusters"] == []
    assert details["scheduler"]["kinds"]["schedule"]["due"] == 0
    assert set(details["queue"]) <= {"monitoring_event", "monitoring_rollupdelta"}


@pytest.mark.django_db
def test_details_are_for_who_knows_the_token_of_metrics(client: Client, settings: Settings) -> None:
    """What alarms call has no session."""
    settings.METRICS_TOKEN = "a-secret-of-the-monitoring"

    def told(token: str) -> set[str]:
        headers = {"Authorization": f"Bearer {token}"}
        return set(client.get("/health/detailed", headers=headers).json())

    assert {"database", "scheduler", "queue", "problems"} <= told(settings.METRICS_TOKEN)
    assert told("another") == {"status"}
    settings.METRICS_TOKEN = ""
    assert told("") == {"status"}
