"""The nodes that have numbers of their own; of workflows with numbers, all that have them now."""

import django.db.models.deletion
from django.db import migrations, models

CREATE = """
CREATE TABLE monitoring_nodeline (
    tenant_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    node_id text NOT NULL,
    PRIMARY KEY (tenant_id, workflow_id, node_id)
);
INSERT INTO monitoring_nodeline SELECT DISTINCT tenant_id, workflow_id, node_id FROM monitoring_noderollup;
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0005_health")]

    operations = [
        migrations.RunSQL(
            CREATE,
            "DROP TABLE monitoring_nodeline",
            state_operations=[
                migrations.CreateModel(
                    name="NodeLine",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "workflow_id",
                                "node_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("workflow_id", models.BigIntegerField()),
                        ("node_id", models.TextField()),
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
                    options={"db_table": "monitoring_nodeline"},
                ),
            ],
        ),
    ]
