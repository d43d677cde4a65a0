"""What a tenant may send in a minute."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0002_audit_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="executions_per_minute",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many it may send; more are answered 429. Empty: what the installation allows.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="executions a minute",
            ),
        ),
    ]
