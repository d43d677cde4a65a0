"""How long a tenant keeps executions; those that are there already keep theirs until somebody chooses."""

import django.core.validators
from django.db import migrations, models

KEPT_BEFORE = 3_650
"""An upgrade must remove nothing that nobody asked to be removed."""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0003_tenant_executions_per_minute"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="retention_days",
            field=models.PositiveSmallIntegerField(
                default=KEPT_BEFORE,
                help_text="Older ones are removed. Their numbers and error groups stay.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(3650),
                ],
                verbose_name="days that executions are kept",
            ),
        ),
        migrations.AlterField(
            model_name="tenant",
            name="retention_days",
            field=models.PositiveSmallIntegerField(
                default=90,
                help_text="Older ones are removed. Their numbers and error groups stay.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(3650),
                ],
                verbose_name="days that executions are kept",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="retention_minimum",
            field=models.PositiveIntegerField(
                default=100,
                help_text="The newest ones, so that a quiet tenant does not end up with an empty history.",
                validators=[django.core.validators.MaxValueValidator(10000)],
                verbose_name="executions that stay however old",
            ),
        ),
    ]
