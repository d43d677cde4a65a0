"""What a tenant's quota refused: when last, and how often in the hours of a day."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0012_past_weeks"),
    ]

    operations = [
        migrations.AddField(
            model_name="quotause",
            name="refused_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="quotause",
            name="refused_hours",
            field=django.contrib.postgres.fields.ArrayField(
                models.BigIntegerField(), db_default=models.Value("{}"), default=list, size=24
            ),
        ),
    ]
