"""Rollups of days, hours and 5 minutes in partitions of their own.

Folded row by row as time passes, a day's row of a workflow lay on a page among hundreds of rows of
5 minutes: a list of a thousand workflows over 30 days read 30,000 pages, one for each row that it wanted.

Nobody but the fold writes rollups, and it steps back from its lock; pages read the old tables until
these are renamed at the very end. So ingest and pages go on while millions of rows are copied.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import migrations

# monitoring.metrics.rollups.FOLD_LOCK, as it was when this was written.
_FOLD_LOCK: Final = 0x666F_6C64
_PARTITIONS: Final = {
    "monitoring_rollup": {"fiveminutes": 0, "hours": 1, "days": 2},
    "monitoring_noderollup": {"hours": 1, "days": 2},
}
_PRIMARY_KEYS: Final = {
    "monitoring_rollup": "tenant_id, subject_kind, subject_id, level, bucket",
    "monitoring_noderollup": "tenant_id, workflow_id, level, bucket, node_id",
}
_COPY: Final = """
INSERT INTO {table}_new SELECT * FROM {table};
ALTER TABLE {table}_new ADD PRIMARY KEY ({key});
DROP TABLE {table};
ALTER TABLE {table}_new RENAME TO {table};
ALTER INDEX {table}_new_pkey RENAME TO {table}_pkey;
ANALYZE {table};
"""

# Lists of workflows read the days or hours of all of them, in the order of time, in which they lie. Only
# statements that say so in their text get this index: all others look up one subject.
_BY_TIME: Final = """
CREATE INDEX monitoring_rollup_{level}_by_time ON monitoring_rollup_{level} (tenant_id, bucket)
    WHERE subject_kind = 2
"""


def split(apps: Any, schema_editor: Any) -> None:
    """Copy each table into a partitioned one, which takes its name."""
    for table, partitions in _PARTITIONS.items():
        made = (
            f"CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS) PARTITION BY LIST (level);"
        )
        for suffix, level in partitions.items():
            made += (
                f"CREATE TABLE {table}_{suffix} PARTITION OF {table}_new"
                f" FOR VALUES IN ({level}) WITH (fillfactor = 70);"
            )
        _replace(schema_editor, table, made)
    for level in ("hours", "days"):
        schema_editor.execute(_BY_TIME.format(level=level))


def join(apps: Any, schema_editor: Any) -> None:
    """Copy each table back into one without partitions."""
    for table in _PARTITIONS:
        made = f"CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS) WITH (fillfactor = 70);"
        _replace(schema_editor, table, made)


def _replace(schema_editor: Any, table: str, made: str) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_FOLD_LOCK])
        # Who writes all the same (a repair) waits; readers do not.
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(made + _COPY.format(table=table, key=_PRIMARY_KEYS[table]))


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0013_quota_refusals")]

    operations = [migrations.RunPython(split, join)]
