"""When running executions that send heartbeats were heard of; those that are running now, from now on."""

import django.db.models.deletion
from django.db import migrations, models

# HOT updates need room in the page and no index over what they change.
CREATE = """
CREATE TABLE monitoring_signoflife (
    tenant_id bigint NOT NULL,
    execution_id uuid NOT NULL,
    heard_at timestamptz NOT NULL,
    due_at timestamptz,
    seconds integer NOT NULL,
    PRIMARY KEY (tenant_id, execution_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX monitoring_signoflife_by_due ON monitoring_signoflife (due_at) WHERE due_at IS NOT NULL;
INSERT INTO monitoring_signoflife (tenant_id, execution_id, heard_at, due_at, seconds)
    SELECT tenant_id, id, now(), now() + heartbeat_seconds * interval '3 seconds', heartbeat_seconds
    FROM monitoring_execution
    WHERE status = 1 AND heartbeat_seconds IS NOT NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0009_quota_use")]

    operations = [
        migrations.RunSQL(
            CREATE,
            "DROP TABLE monitoring_signoflife",
            state_operations=[
                migrations.CreateModel(
                    name="SignOfLife",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "execution_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("execution_id", models.UUIDField()),
                        ("seconds", models.IntegerField()),
                        ("heard_at", models.DateTimeField()),
                        ("due_at", models.DateTimeField(null=True)),
                        (
                            "tenant",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="tenants.tenant",
                            ),
                        ),
                    ],
                    options={"db_table": "monitoring_signoflife"},
                ),
            ],
        ),
    ]
