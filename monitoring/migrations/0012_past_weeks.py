"""Dropping the oldest week's partitions: what stays of them moves to the archive.

The application's role owns nothing, so functions of the owner do it; they refuse every week but the
oldest past one. They wait a moment for locks and no longer: who waits for an exclusive lock holds up
all who come after.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations, models

# The archive takes the week over by a CHECK that is validated before, without keeping anybody out, so
# that attaching it again needs no scan. Queries go by the parent: locked first, nobody comes in between.
FUNCTIONS = """
CREATE FUNCTION flowwatch_demand_past_week(week timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    IF week IS DISTINCT FROM (SELECT archive_until FROM public.monitoring_partitionboundary) THEN
        RAISE EXCEPTION 'the week of % is not the oldest one', week;
    END IF;
    IF week + interval '7 days' > now() - interval '1 day' THEN
        RAISE EXCEPTION 'the week of % is not past', week;
    END IF;
END $$;

CREATE FUNCTION flowwatch_widen_archive(week timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC' SET lock_timeout = '50ms' AS $$
DECLARE
    parent record;
BEGIN
    PERFORM public.flowwatch_demand_past_week(week);
    FOR parent IN SELECT * FROM (VALUES
        ('monitoring_execution', 'id'), ('monitoring_nodeexecution', 'execution_id')) AS p(name, id_column)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = parent.name || '_archive_next'
                AND conrelid = to_regclass('public.' || parent.name || '_archive')) THEN
            EXECUTE format(
                'ALTER TABLE public.%I ADD CONSTRAINT %I CHECK (%I IS NOT NULL AND %I < %L) NOT VALID',
                parent.name || '_archive', parent.name || '_archive_next', parent.id_column,
                parent.id_column, public.flowwatch_uuid_floor(week + interval '7 days'));
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION flowwatch_validate_archive(week timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM public.flowwatch_demand_past_week(week);
    ALTER TABLE public.monitoring_execution_archive
        VALIDATE CONSTRAINT monitoring_execution_archive_next;
    ALTER TABLE public.monitoring_nodeexecution_archive
        VALIDATE CONSTRAINT monitoring_nodeexecution_archive_next;
END $$;

CREATE FUNCTION flowwatch_columns_of(parent regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = parent AND attnum > 0 AND NOT attisdropped
$$;

-- Of each of `tenants` stays what is not older than its `keep_from`, and of those that are not
-- named everything; beside that the executions (kept_tenants, kept). Returns how many moved.
CREATE FUNCTION flowwatch_drop_week(
    week timestamptz, tenants bigint[], keep_from uuid[], kept_tenants bigint[], kept uuid[])
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC' SET lock_timeout = '50ms' SET client_min_messages = 'warning'
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    suffix text := to_char(week, 'YYYYMMDD');
    until timestamptz := week + interval '7 days';
    moved_tenants bigint[];
    moved uuid[];
    parent text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('flowwatch_ensure_partitions'));
    PERFORM public.flowwatch_demand_past_week(week);
    LOCK TABLE ONLY public.monitoring_execution, ONLY public.monitoring_nodeexecution
        IN ACCESS EXCLUSIVE MODE;
    FOREACH parent IN ARRAY ARRAY['monitoring_execution', 'monitoring_nodeexecution'] LOOP
        EXECUTE format('ALTER TABLE public.%I DETACH PARTITION public.%I', parent, parent || '_archive');
        EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT %I', parent || '_archive',
            parent || '_archive_bounds');
        EXECUTE format('ALTER TABLE public.%I RENAME CONSTRAINT %I TO %I', parent || '_archive',
            parent || '_archive_next', parent || '_archive_bounds');
    END LOOP;
    EXECUTE format($move$
        WITH RECURSIVE there AS (
            (SELECT tenant_id FROM public.%2$I ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT w.tenant_id FROM public.%2$I w WHERE w.tenant_id > t.tenant_id
                    ORDER BY w.tenant_id LIMIT 1)
            FROM there t WHERE t.tenant_id IS NOT NULL
        ), stays AS (
            SELECT e.tenant_id, e.id FROM unnest($1, $2) AS k (tenant_id, keep_from)
            CROSS JOIN LATERAL (SELECT w.tenant_id, w.id FROM public.%2$I w
                WHERE w.tenant_id = k.tenant_id AND w.id >= k.keep_from) e
            UNION
            SELECT e.tenant_id, e.id FROM there t
            CROSS JOIN LATERAL (SELECT w.tenant_id, w.id FROM public.%2$I w
                WHERE w.tenant_id = t.tenant_id) e
            WHERE t.tenant_id <> ALL ($1)
            UNION
            SELECT * FROM unnest($3, $4)
        ), moved AS (
            INSERT INTO public.monitoring_execution_archive (%1$s)
            SELECT e.* FROM stays s CROSS JOIN LATERAL (SELECT %1$s FROM public.%2$I
                WHERE tenant_id = s.tenant_id AND id = s.id) e
            RETURNING tenant_id, id
        )
        SELECT array_agg(tenant_id), array_agg(id) FROM moved
    $move$, public.flowwatch_columns_of('public.monitoring_execution'), 'monitoring_execution_' || suffix)
    INTO moved_tenants, moved USING tenants, keep_from, kept_tenants, kept;
    EXECUTE format($move$
        INSERT INTO public.monitoring_nodeexecution_archive (%1$s)
        SELECT n.* FROM unnest($1, $2) AS m (tenant_id, execution_id)
        CROSS JOIN LATERAL (SELECT %1$s FROM public.%2$I w
            WHERE w.tenant_id = m.tenant_id AND w.execution_id = m.execution_id) n
    $move$, public.flowwatch_columns_of('public.monitoring_nodeexecution'),
        'monitoring_nodeexecution_' || suffix)
    USING moved_tenants, moved;
    FOREACH parent IN ARRAY ARRAY['monitoring_execution', 'monitoring_nodeexecution'] LOOP
        EXECUTE format('DROP TABLE public.%I', parent || '_' || suffix);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (MINVALUE) TO (%L)',
            parent, parent || '_archive', public.flowwatch_uuid_floor(until));
    END LOOP;
    UPDATE public.monitoring_partitionboundary SET archive_until = until;
    RETURN coalesce(cardinality(moved), 0);
END $$;
REVOKE ALL ON FUNCTION flowwatch_demand_past_week(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION flowwatch_widen_archive(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION flowwatch_validate_archive(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION flowwatch_columns_of(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION flowwatch_drop_week(timestamptz, bigint[], uuid[], bigint[], uuid[]) FROM PUBLIC;
"""

DROP_FUNCTIONS = """
DROP FUNCTION flowwatch_drop_week(timestamptz, bigint[], uuid[], bigint[], uuid[]);
DROP FUNCTION flowwatch_columns_of(regclass);
DROP FUNCTION flowwatch_validate_archive(timestamptz);
DROP FUNCTION flowwatch_widen_archive(timestamptz);
DROP FUNCTION flowwatch_demand_past_week(timestamptz);
"""

FOR_APP = (
    "flowwatch_widen_archive(timestamptz)",
    "flowwatch_validate_archive(timestamptz)",
    "flowwatch_drop_week(timestamptz, bigint[], uuid[], bigint[], uuid[])",
)


def grant_to_app(apps: Any, schema_editor: Any) -> None:
    """Let the application's role call what it needs, and nothing else of the owner's."""
    with schema_editor.connection.cursor() as cursor:
        role = schema_editor.quote_name(settings.APP_ROLE)
        for function in FOR_APP:
            cursor.execute(f"GRANT EXECUTE ON FUNCTION {function} TO {role}")


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0011_retention")]

    operations = [
        migrations.CreateModel(
            name="PastWeek",
            fields=[
                ("start", models.DateTimeField(primary_key=True, serialize=False)),
                ("keep_from", models.JSONField()),
                ("kept", models.JSONField()),
                ("removed", models.JSONField(default=dict)),
                ("position_tenant", models.BigIntegerField(default=0)),
                ("position", models.UUIDField(null=True)),
                ("is_forgotten", models.BooleanField(default=False)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(null=True)),
                ("began_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"db_table": "monitoring_pastweek"},
        ),
        migrations.RunSQL(FUNCTIONS, DROP_FUNCTIONS),
        migrations.RunPython(grant_to_app, migrations.RunPython.noop),
    ]
