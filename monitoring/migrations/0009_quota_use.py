"""How much of its quota a tenant has used."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0008_saved_view"),
        ("tenants", "0003_tenant_executions_per_minute"),
    ]

    operations = [
        migrations.CreateModel(
            name="QuotaUse",
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
                ("level", models.FloatField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "monitoring_quotause",
            },
        ),
    ]
