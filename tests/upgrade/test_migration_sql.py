"""No migration after the first kept dump holds up who works on a big table."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunPython

from config.backup.archive import Archive
from tests.upgrade.make_dump import DUMPS
from tests.upgrade.rules import troubles

BASELINE = frozenset(Archive(sorted(DUMPS.glob("*.backup"))[0]).manifest.migrations)
"""What a database of the oldest version has already; later migrations meet full tables."""

IN_PYTHON = {
    "monitoring.0011_retention",
    "monitoring.0012_past_weeks",
    "monitoring.0014_rollups_by_level",
}
"""The last is the one that copies rows of big tables, of rollups only: CONTRIBUTING.md says why it may."""


def later_migrations() -> list[tuple[str, str]]:
    return sorted(
        (app, name)
        for app, name in MigrationLoader(None).disk_migrations
        if f"{app}.{name}" not in BASELINE
    )


@pytest.mark.django_db
@pytest.mark.parametrize("migration", later_migrations(), ids=".".join)
def test_a_migration_keeps_nobody_from_working_on_a_big_table(migration: tuple[str, str]) -> None:
    assert list(troubles(sql_of(migration))) == []


def test_only_known_migrations_work_in_python() -> None:
    """What their functions execute is not looked at here."""
    loader = MigrationLoader(None)
    found = {
        ".".join(migration)
        for migration in later_migrations()
        for operation in loader.disk_migrations[migration].operations
        if isinstance(operation, RunPython)
    }
    assert found == IN_PYTHON


def sql_of(migration: tuple[str, str]) -> str:
    """As `sqlmigrate` prints it; what Python functions execute is not in it."""
    executor = MigrationExecutor(connection)
    state = executor.loader.project_state(migration, at_end=False)
    found = executor.loader.get_migration(*migration)
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        found.apply(state, editor, collect_sql=True)
    return "\n".join(editor.collected_sql)


@pytest.mark.parametrize(
    "statement",
    [
        'CREATE INDEX "i" ON "monitoring_execution" ("version");',
        "CREATE UNIQUE INDEX i ON public.monitoring_rollup (tenant_id);",
        "CREATE INDEX i ON monitoring_nodeexecution_20261116 (node_id);",
        'ALTER TABLE "monitoring_execution" ALTER COLUMN "attempt" TYPE bigint USING "attempt"::bigint;',
        "ALTER TABLE monitoring_execution ALTER attempt SET DATA TYPE bigint;",
        'ALTER TABLE "monitoring_execution" ALTER COLUMN "version" SET NOT NULL;',
        'ALTER TABLE "monitoring_rollup" ADD COLUMN "key" uuid DEFAULT gen_random_uuid() NOT NULL;',
        "ALTER TABLE monitoring_event ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY;",
        "ALTER TABLE monitoring_execution ADD COLUMN w bigint REFERENCES monitoring_workflow (id);",
        "ALTER TABLE monitoring_execution ADD CONSTRAINT c CHECK (attempt > 0);",
        "ALTER TABLE monitoring_rollup ADD CONSTRAINT c FOREIGN KEY (tenant_id) REFERENCES tenants_tenant;",
        "ALTER TABLE monitoring_executionkey ADD CONSTRAINT c UNIQUE (execution_id);",
        "ALTER TABLE monitoring_rollup SET UNLOGGED;",
        "UPDATE monitoring_execution SET attempt = 1;",
        "DELETE FROM monitoring_rollup WHERE level = 0;",
        "INSERT INTO monitoring_rollup SELECT * FROM monitoring_workflow;",
        "INSERT INTO public.monitoring_rollup (level) WITH w AS (SELECT 1 AS l) SELECT l FROM w;",
        "MERGE INTO monitoring_rollup USING w ON true WHEN MATCHED THEN DELETE;",
        "ALTER TABLE monitoring_execution ATTACH PARTITION monitoring_execution_20261116 DEFAULT;",
        "ALTER TABLE ONLY public.monitoring_execution ATTACH PARTITION public.other FOR VALUES IN (1);",
        "CREATE INDEX i ON monitoring_rollup_hours (bucket);",
        "DO $$ BEGIN UPDATE monitoring_execution SET attempt = 1; END $$;",
        "LOCK TABLE monitoring_execution;",
        "CREATE TABLE new (id int); CREATE INDEX i ON monitoring_event (kind);",
    ],
)
def test_what_would_hold_up_others_is_found(statement: str) -> None:
    assert len(list(troubles(statement))) == 1


@pytest.mark.parametrize(
    "statements",
    [
        'CREATE INDEX CONCURRENTLY "i" ON "monitoring_rollup" ("level");',
        "CREATE INDEX i ON ONLY monitoring_execution (version);",
        'ALTER TABLE "monitoring_execution" ADD COLUMN "note" text NULL;',
        "ALTER TABLE monitoring_execution ADD COLUMN seen timestamptz DEFAULT now() NOT NULL;",
        'ALTER TABLE "monitoring_rollup" DROP COLUMN "sealed" CASCADE;',
        "ALTER TABLE monitoring_execution ADD CONSTRAINT c CHECK (attempt > 0) NOT VALID;",
        """ALTER TABLE monitoring_execution VALIDATE CONSTRAINT c;
           ALTER TABLE monitoring_execution ALTER COLUMN attempt SET NOT NULL;""",
        "ALTER TABLE monitoring_executionkey ADD CONSTRAINT c UNIQUE USING INDEX i;",
        """ALTER TABLE monitoring_execution_archive VALIDATE CONSTRAINT c;
           ALTER TABLE monitoring_execution ATTACH PARTITION monitoring_execution_archive DEFAULT;""",
        """CREATE TABLE other (id int);
           ALTER TABLE monitoring_execution ATTACH PARTITION other FOR VALUES IN (1);""",
        "ALTER INDEX i ATTACH PARTITION monitoring_execution_20261116_i;",
        "INSERT INTO monitoring_rollup (level) VALUES (1);",
        "CREATE TABLE other (id int); INSERT INTO other SELECT id FROM monitoring_workflow;",
        # Locks of a moment, as for a new column: `migrate` gives way when it does not get them.
        "DROP INDEX monitoring_rollup_by_level;",
        "CREATE TRIGGER t AFTER INSERT ON monitoring_execution EXECUTE FUNCTION f();",
        'CREATE TABLE "monitoring_event" (id int); CREATE INDEX i ON "monitoring_event" (id);',
        'CREATE INDEX "i" ON "tenants_tenant" ("slug");',
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM monitoring_event; $$;",
    ],
)
def test_what_is_safe_is_let_through(statements: str) -> None:
    assert list(troubles(statements)) == []
