"""Each tenant's turn to have its past executions removed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("scheduling", "0006_careful_scans"),
        ("tenants", "0004_retention"),
    ]

    operations = [
        migrations.CreateModel(
            name="Removal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("due_at", models.DateTimeField(editable=False, null=True)),
                ("leased_until", models.DateTimeField(editable=False, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("fence", models.BigIntegerField(default=0, editable=False)),
                ("quarantined_at", models.DateTimeField(editable=False, null=True)),
                ("last_error", models.TextField(default="", editable=False)),
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
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            ("due_at__isnull", False), ("quarantined_at__isnull", True)
                        ),
                        fields=["due_at"],
                        name="removal_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="removal_of_tenant")
                ],
            },
        ),
    ]
