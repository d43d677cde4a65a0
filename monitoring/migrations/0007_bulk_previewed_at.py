"""When a bulk action was previewed; of those before, when they were confirmed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0006_node_line")]

    operations = [
        migrations.AddField("bulkjob", "previewed_at", models.DateTimeField(null=True)),
        migrations.RunSQL(
            "UPDATE monitoring_bulkjob SET previewed_at = created_at", migrations.RunSQL.noop
        ),
        migrations.AlterField("bulkjob", "previewed_at", models.DateTimeField()),
    ]
