"""What retention removed, and how far back; that is one moment of a tenant, no mark on every bucket."""

from typing import Any

import django.db.models.deletion
from django.core.management.base import CommandError
from django.db import migrations, models


def refuse_while_sealed(apps: Any, schema_editor: Any) -> None:
    """Without seals, numbers that outlive their executions would be taken for wrong, and repaired away."""
    if apps.get_model("monitoring", "Seal")._base_manager.exists():
        raise CommandError(
            "This migration is not undone: retention has removed executions, and what it knows of that"
            " would be lost, and with it the numbers that stayed. `migrate` goes forward again; the way"
            " back is a backup of before."
        )


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0010_sign_of_life"),
        ("tenants", "0004_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="Seal",
            fields=[
                (
                    "tenant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="tenants.tenant",
                    ),
                ),
                ("until", models.DateTimeField()),
            ],
            options={
                "db_table": "monitoring_seal",
            },
        ),
        migrations.RemoveField(
            model_name="noderollup",
            name="sealed",
        ),
        migrations.RemoveField(
            model_name="rollup",
            name="sealed",
        ),
        migrations.CreateModel(
            name="RetentionRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("done", "Done"),
                            ("canceled", "Canceled"),
                            ("failed", "Failed"),
                        ],
                        default="running",
                        max_length=16,
                    ),
                ),
                ("horizon", models.DateTimeField()),
                ("spans", models.JSONField(default=list)),
                ("position", models.UUIDField(null=True)),
                ("expected", models.BigIntegerField(null=True)),
                ("removed", models.BigIntegerField(default=0)),
                ("bytes", models.BigIntegerField(default=0)),
                ("kept", models.BigIntegerField(default=0)),
                ("weeks", models.PositiveSmallIntegerField(default=0)),
                ("problem", models.TextField(default="")),
                ("started_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["tenant", "-id"], name="retention_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "running")),
                        fields=("tenant",),
                        name="retention_one_running",
                    )
                ],
            },
        ),
        # The last one, so that it is the first to be undone.
        migrations.RunPython(migrations.RunPython.noop, refuse_while_sealed),
    ]
