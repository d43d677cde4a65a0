"""The big tables as PostgreSQL wants them: partitioned, keyed by tenant, without foreign keys.

Django knows their columns from 0001 (state only). Partitions are made by a SECURITY DEFINER
function, because the application's role owns nothing.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations

TABLES = """
CREATE TABLE monitoring_execution (
    tenant_id bigint NOT NULL,
    id uuid NOT NULL,
    environment_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    duration_ms bigint,
    started_at timestamptz,
    completed_at timestamptz,
    updated_at timestamptz,
    received_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    lost_contact_at timestamptz,
    status smallint NOT NULL,
    error_class smallint,
    severity smallint,
    attempt integer,
    node_count integer NOT NULL,
    node_done_count integer NOT NULL,
    heartbeat_seconds integer,
    external_id text,
    trigger_type text,
    retry_of text,
    parent_execution_id text,
    parent_node_id text,
    version text,
    error_message text,
    error_node_id text,
    error_node_name text,
    fingerprint bytea,
    tags jsonb,
    keys jsonb,
    order_keys bytea NOT NULL,
    payload bytea,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
-- The payload is compressed already and read for one execution at a time: keep it out of the rows
-- that lists read (each partition sets a low toast_tuple_target).
ALTER TABLE monitoring_execution ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX monitoring_execution_by_workflow
    ON monitoring_execution (tenant_id, workflow_id, id);
CREATE INDEX monitoring_execution_by_environment
    ON monitoring_execution (tenant_id, environment_id, id);
-- Successes are nearly all rows: lists of them walk the primary key.
CREATE INDEX monitoring_execution_by_status
    ON monitoring_execution (tenant_id, status, id) WHERE status <> 3;
CREATE INDEX monitoring_execution_by_workflow_status
    ON monitoring_execution (tenant_id, workflow_id, status, id) WHERE status <> 3;
CREATE INDEX monitoring_execution_by_fingerprint
    ON monitoring_execution (tenant_id, fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE INDEX monitoring_execution_by_retry_of
    ON monitoring_execution (tenant_id, workflow_id, retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX monitoring_execution_by_parent
    ON monitoring_execution (tenant_id, parent_execution_id) WHERE parent_execution_id IS NOT NULL;

CREATE TABLE monitoring_nodeexecution (
    tenant_id bigint NOT NULL,
    execution_id uuid NOT NULL,
    duration_ms bigint,
    started_at timestamptz,
    completed_at timestamptz,
    run_index integer NOT NULL,
    position integer,
    attempt integer,
    input_bytes integer,
    output_bytes integer,
    input_items integer,
    output_items integer,
    status smallint NOT NULL,
    node_id text NOT NULL,
    name text,
    type text,
    error_message text,
    order_keys bytea NOT NULL,
    PRIMARY KEY (tenant_id, execution_id, node_id, run_index)
) PARTITION BY RANGE (execution_id);

CREATE TABLE monitoring_executionkey (
    tenant_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    environment_id bigint NOT NULL,
    execution_id uuid NOT NULL,
    external_id text NOT NULL,
    -- external_id second: a sender's id alone must find its executions.
    PRIMARY KEY (tenant_id, external_id, workflow_id, environment_id)
);

CREATE TABLE monitoring_idempotencykey (
    tenant_id bigint NOT NULL,
    execution_id uuid NOT NULL,
    digest bytea NOT NULL,
    body_digest bytea NOT NULL,
    PRIMARY KEY (tenant_id, digest)
);
CREATE INDEX monitoring_idempotencykey_by_execution
    ON monitoring_idempotencykey (tenant_id, execution_id);

CREATE TABLE monitoring_rollup (
    tenant_id bigint NOT NULL,
    subject_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    subject_kind smallint NOT NULL,
    level smallint NOT NULL,
    sealed boolean NOT NULL DEFAULT false,
    counts bigint[] NOT NULL,
    duration_sums bigint[] NOT NULL,
    duration_counts bigint[] NOT NULL,
    error_classes bigint[] NOT NULL,
    histogram bytea NOT NULL,
    PRIMARY KEY (tenant_id, subject_kind, subject_id, level, bucket)
) WITH (fillfactor = 70);

CREATE TABLE monitoring_noderollup (
    tenant_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    duration_count bigint NOT NULL,
    level smallint NOT NULL,
    sealed boolean NOT NULL DEFAULT false,
    node_id text NOT NULL,
    duration_sum numeric(30, 0) NOT NULL,
    counts bigint[] NOT NULL,
    histogram bytea NOT NULL,
    PRIMARY KEY (tenant_id, workflow_id, level, bucket, node_id)
) WITH (fillfactor = 70);

-- Queues: rows live for seconds, so vacuum by number of rows and not by share of the table.
CREATE TABLE monitoring_rollupdelta (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    environment_id bigint NOT NULL,
    workflow_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    last_executed_at timestamptz,
    counts bigint[] NOT NULL,
    duration_sums bigint[] NOT NULL,
    duration_counts bigint[] NOT NULL,
    error_classes bigint[] NOT NULL,
    histogram bytea NOT NULL,
    nodes bytea NOT NULL,
    workflow_name text,
    workflow_name_key bytea
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000);
CREATE INDEX monitoring_rollupdelta_by_tenant
    ON monitoring_rollupdelta (tenant_id, workflow_id);

CREATE TABLE monitoring_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    kind text NOT NULL,
    body jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000);
"""

DROP_TABLES = """
DROP TABLE monitoring_event, monitoring_rollupdelta, monitoring_noderollup, monitoring_rollup,
    monitoring_idempotencykey, monitoring_executionkey, monitoring_nodeexecution,
    monitoring_execution;
"""

# Weeks begin on Monday, UTC. The archive partition takes everything before the boundary; retention
# moves the boundary later. `LIKE` + CHECK + ATTACH instead of PARTITION OF: no exclusive lock on
# the parent, and the CHECK spares ATTACH its scan.
FUNCTIONS = """
CREATE TABLE monitoring_partitionboundary (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    archive_until timestamptz NOT NULL
);
INSERT INTO monitoring_partitionboundary (archive_until)
    VALUES (date_trunc('week', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '13 weeks');

CREATE FUNCTION flowwatch_uuid_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION flowwatch_add_partition(parent text, suffix text, lower_id uuid, upper_id uuid, id_column text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    child text := parent || '_' || suffix;
    lower_bound text := coalesce(quote_literal(lower_id), 'MINVALUE');
BEGIN
    IF to_regclass('public.' || child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', child, parent);
    IF parent = 'monitoring_execution' THEN
        EXECUTE format('ALTER TABLE public.%I SET (toast_tuple_target = 256)', child);
    END IF;
    IF lower_id IS NULL THEN
        EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I CHECK (%I IS NOT NULL AND %I < %L)',
            child, child || '_bounds', id_column, id_column, upper_id);
    ELSE
        EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I CHECK (%I IS NOT NULL AND %I >= %L AND %I < %L)',
            child, child || '_bounds', id_column, id_column, lower_id, id_column, upper_id);
    END IF;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%L)',
        parent, child, lower_bound, upper_id);
    RETURN true;
END $$;

CREATE FUNCTION flowwatch_ensure_partitions(until timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    parent record;
    week timestamptz;
    made integer := 0;
BEGIN
    -- One at a time: web processes and the worker all call this when they start.
    PERFORM pg_advisory_xact_lock(hashtext('flowwatch_ensure_partitions'));
    -- A caller can't ask for partitions without end.
    until := least(until, now() + interval '400 days');
    FOR parent IN SELECT * FROM (VALUES
        ('monitoring_execution', 'id'), ('monitoring_nodeexecution', 'execution_id')) AS p(name, id_column)
    LOOP
        SELECT archive_until INTO STRICT week FROM public.monitoring_partitionboundary;
        made := made + public.flowwatch_add_partition(
            parent.name, 'archive', NULL, public.flowwatch_uuid_floor(week), parent.id_column)::integer;
        WHILE week < until LOOP
            made := made + public.flowwatch_add_partition(
                parent.name, to_char(week, 'YYYYMMDD'), public.flowwatch_uuid_floor(week),
                public.flowwatch_uuid_floor(week + interval '7 days'), parent.id_column)::integer;
            week := week + interval '7 days';
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION flowwatch_add_partition(text, text, uuid, uuid, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION flowwatch_ensure_partitions(timestamptz) FROM PUBLIC;
SELECT flowwatch_ensure_partitions(now() + interval '60 days');
"""

DROP_FUNCTIONS = """
DROP FUNCTION flowwatch_ensure_partitions(timestamptz);
DROP FUNCTION flowwatch_add_partition(text, text, uuid, uuid, text);
DROP FUNCTION flowwatch_uuid_floor(timestamptz);
DROP TABLE monitoring_partitionboundary;
"""


def grant_to_app(apps: Any, schema_editor: Any) -> None:
    """Let the application's role make partitions; it gets nothing else from the owner."""
    with schema_editor.connection.cursor() as cursor:
        role = schema_editor.quote_name(settings.APP_ROLE)
        cursor.execute(
            f"GRANT EXECUTE ON FUNCTION flowwatch_ensure_partitions(timestamptz) TO {role}"
        )


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0001_initial")]

    operations = [
        migrations.RunSQL(TABLES, DROP_TABLES),
        migrations.RunSQL(FUNCTIONS, DROP_FUNCTIONS),
        migrations.RunPython(grant_to_app, migrations.RunPython.noop),
    ]
