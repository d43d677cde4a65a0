import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0002_audit_append_only"),
    ]

    operations = [
        migrations.CreateModel(
            name="Environment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("slug", models.SlugField(max_length=64)),
                (
                    "provider",
                    models.CharField(
                        choices=[
                            ("n8n", "n8n"),
                            ("gohighlevel", "GoHighLevel"),
                            ("python", "Python"),
                            ("flowwatch", "Flowwatch"),
                            ("other", "Other"),
                        ],
                        default="other",
                        max_length=16,
                    ),
                ),
                ("base_url", models.URLField(blank=True, max_length=500)),
                ("is_default", models.BooleanField(default=False, editable=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="environments",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="ErrorGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("fingerprint", models.BinaryField()),
                ("title", models.TextField()),
                ("sample", models.TextField()),
                (
                    "error_class",
                    models.SmallIntegerField(
                        choices=[
                            (0, "unknown"),
                            (1, "auth"),
                            (2, "rate_limit"),
                            (3, "timeout"),
                            (4, "connection"),
                            (5, "validation"),
                            (6, "not_found"),
                            (7, "payment"),
                            (8, "code"),
                            (9, "resource"),
                        ]
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Workflow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("external_id", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=255)),
                ("name_key", models.BinaryField(default=b"")),
                ("execution_count", models.BigIntegerField(default=0, editable=False)),
                ("success_count", models.BigIntegerField(default=0, editable=False)),
                ("failure_count", models.BigIntegerField(default=0, editable=False)),
                ("partial_count", models.BigIntegerField(default=0, editable=False)),
                (
                    "duration_sum_ms",
                    models.DecimalField(decimal_places=0, default=0, editable=False, max_digits=30),
                ),
                ("duration_count", models.BigIntegerField(default=0, editable=False)),
                ("last_executed_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="workflows",
                        to="monitoring.environment",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="workflows",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.AddConstraint(
            model_name="environment",
            constraint=models.UniqueConstraint(
                fields=("tenant", "slug"), name="environment_slug_of_tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="environment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("tenant",),
                name="environment_one_default_of_tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="errorgroup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "fingerprint"),
                name="errorgroup_fingerprint_of_tenant",
            ),
        ),
        migrations.AddIndex(
            model_name="workflow",
            index=models.Index(fields=["tenant", "name", "id"], name="workflow_by_name"),
        ),
        migrations.AddIndex(
            model_name="workflow",
            index=models.Index(fields=["tenant", "external_id"], name="workflow_by_external_id"),
        ),
        migrations.AddConstraint(
            model_name="workflow",
            constraint=models.UniqueConstraint(
                fields=("environment", "external_id"),
                name="workflow_external_id_of_environment",
            ),
        ),
        # Database side: 0002. These tables are partitioned or keyed in ways Django can't say.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Event",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        ("kind", models.TextField()),
                        ("body", models.JSONField()),
                        ("created_at", models.DateTimeField()),
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
                    options={
                        "db_table": "monitoring_event",
                    },
                ),
                migrations.CreateModel(
                    name="ExecutionKey",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "environment_id",
                                "workflow_id",
                                "external_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("environment_id", models.BigIntegerField()),
                        ("workflow_id", models.BigIntegerField()),
                        ("external_id", models.TextField()),
                        ("execution_id", models.UUIDField()),
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
                    options={
                        "db_table": "monitoring_executionkey",
                    },
                ),
                migrations.CreateModel(
                    name="IdempotencyKey",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "digest",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("digest", models.BinaryField()),
                        ("body_digest", models.BinaryField()),
                        ("execution_id", models.UUIDField()),
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
                    options={
                        "db_table": "monitoring_idempotencykey",
                    },
                ),
                migrations.CreateModel(
                    name="NodeExecution",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "execution_id",
                                "node_id",
                                "run_index",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("execution_id", models.UUIDField()),
                        ("node_id", models.TextField()),
                        ("run_index", models.IntegerField()),
                        ("position", models.IntegerField(null=True)),
                        ("name", models.TextField(null=True)),
                        ("type", models.TextField(null=True)),
                        (
                            "status",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "pending"),
                                    (1, "running"),
                                    (2, "waiting"),
                                    (3, "success"),
                                    (4, "failed"),
                                    (5, "partial"),
                                    (6, "canceled"),
                                    (7, "skipped"),
                                ]
                            ),
                        ),
                        ("started_at", models.DateTimeField(null=True)),
                        ("completed_at", models.DateTimeField(null=True)),
                        ("duration_ms", models.BigIntegerField(null=True)),
                        ("attempt", models.IntegerField(null=True)),
                        ("error_message", models.TextField(null=True)),
                        ("input_bytes", models.IntegerField(null=True)),
                        ("output_bytes", models.IntegerField(null=True)),
                        ("input_items", models.IntegerField(null=True)),
                        ("output_items", models.IntegerField(null=True)),
                        ("order_keys", models.BinaryField()),
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
                    options={
                        "db_table": "monitoring_nodeexecution",
                    },
                ),
                migrations.CreateModel(
                    name="NodeRollup",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "workflow_id",
                                "level",
                                "bucket",
                                "node_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("workflow_id", models.BigIntegerField()),
                        (
                            "level",
                            models.SmallIntegerField(
                                choices=[(0, "five_minutes"), (1, "hour"), (2, "day")]
                            ),
                        ),
                        ("bucket", models.DateTimeField()),
                        ("node_id", models.TextField()),
                        (
                            "counts",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "duration_sum",
                            models.DecimalField(decimal_places=0, max_digits=30),
                        ),
                        ("duration_count", models.BigIntegerField()),
                        ("histogram", models.BinaryField()),
                        ("sealed", models.BooleanField(default=False)),
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
                    options={
                        "db_table": "monitoring_noderollup",
                    },
                ),
                migrations.CreateModel(
                    name="Rollup",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "tenant_id",
                                "subject_kind",
                                "subject_id",
                                "level",
                                "bucket",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        (
                            "subject_kind",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "tenant"),
                                    (1, "environment"),
                                    (2, "workflow"),
                                ]
                            ),
                        ),
                        ("subject_id", models.BigIntegerField()),
                        (
                            "level",
                            models.SmallIntegerField(
                                choices=[(0, "five_minutes"), (1, "hour"), (2, "day")]
                            ),
                        ),
                        ("bucket", models.DateTimeField()),
                        (
                            "counts",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "duration_sums",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "duration_counts",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "error_classes",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        ("histogram", models.BinaryField()),
                        ("sealed", models.BooleanField(default=False)),
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
                    options={
                        "db_table": "monitoring_rollup",
                    },
                ),
                migrations.CreateModel(
                    name="RollupDelta",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        ("environment_id", models.BigIntegerField()),
                        ("workflow_id", models.BigIntegerField()),
                        ("bucket", models.DateTimeField()),
                        (
                            "counts",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "duration_sums",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "duration_counts",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        (
                            "error_classes",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.BigIntegerField(), size=None
                            ),
                        ),
                        ("histogram", models.BinaryField()),
                        ("nodes", models.BinaryField()),
                        ("workflow_name", models.TextField(null=True)),
                        ("workflow_name_key", models.BinaryField(null=True)),
                        ("last_executed_at", models.DateTimeField(null=True)),
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
                    options={
                        "db_table": "monitoring_rollupdelta",
                    },
                ),
                migrations.CreateModel(
                    name="Execution",
                    fields=[
                        ("id", models.UUIDField(primary_key=True, serialize=False)),
                        ("external_id", models.TextField(null=True)),
                        (
                            "status",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "pending"),
                                    (1, "running"),
                                    (2, "waiting"),
                                    (3, "success"),
                                    (4, "failed"),
                                    (5, "partial"),
                                    (6, "canceled"),
                                    (7, "skipped"),
                                ]
                            ),
                        ),
                        ("started_at", models.DateTimeField(null=True)),
                        ("completed_at", models.DateTimeField(null=True)),
                        ("updated_at", models.DateTimeField(null=True)),
                        ("duration_ms", models.BigIntegerField(null=True)),
                        ("trigger_type", models.TextField(null=True)),
                        ("attempt", models.IntegerField(null=True)),
                        ("retry_of", models.TextField(null=True)),
                        ("parent_execution_id", models.TextField(null=True)),
                        ("parent_node_id", models.TextField(null=True)),
                        ("version", models.TextField(null=True)),
                        ("tags", models.JSONField(null=True)),
                        ("keys", models.JSONField(null=True)),
                        ("error_message", models.TextField(null=True)),
                        ("error_node_id", models.TextField(null=True)),
                        ("error_node_name", models.TextField(null=True)),
                        (
                            "error_class",
                            models.SmallIntegerField(
                                choices=[
                                    (0, "unknown"),
                                    (1, "auth"),
                                    (2, "rate_limit"),
                                    (3, "timeout"),
                                    (4, "connection"),
                                    (5, "validation"),
                                    (6, "not_found"),
                                    (7, "payment"),
                                    (8, "code"),
                                    (9, "resource"),
                                ],
                                null=True,
                            ),
                        ),
                        (
                            "severity",
                            models.SmallIntegerField(
                                choices=[(1, "info"), (2, "warning"), (3, "critical")],
                                null=True,
                            ),
                        ),
                        ("fingerprint", models.BinaryField(null=True)),
                        ("node_count", models.IntegerField(default=0)),
                        ("node_done_count", models.IntegerField(default=0)),
                        ("heartbeat_seconds", models.IntegerField(null=True)),
                        ("lost_contact_at", models.DateTimeField(null=True)),
                        ("received_at", models.DateTimeField()),
                        ("changed_at", models.DateTimeField()),
                        ("order_keys", models.BinaryField()),
                        ("payload", models.BinaryField(null=True)),
                        (
                            "environment",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="monitoring.environment",
                            ),
                        ),
                        (
                            "tenant",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="tenants.tenant",
                            ),
                        ),
                        (
                            "workflow",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="executions",
                                to="monitoring.workflow",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "monitoring_execution",
                    },
                ),
            ]
        ),
    ]
