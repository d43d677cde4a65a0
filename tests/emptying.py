"""Between tests that commit: delete the few rows they left instead of truncating every partition.

Django's ``flush`` truncates some two hundred tables and makes all content types anew, which took
half of the suite's time. Content types and permissions equal the template's, so they stay.
"""

import os
from functools import cache

import psycopg
from django.db import connection
from psycopg import sql

from config.home import home_from
from config.postgres.cluster import Cluster
from tests.database import superuser

KEPT = {"django_content_type", "auth_permission"}
# Dead rows of earlier tests are cut off when a table has more than this.
LARGE_BYTES = 4 * 1024 * 1024

# The tables themselves or their partitions, where anything was ever written.
WRITTEN = """
    SELECT leaf.relid::regclass::text, pg_relation_size(leaf.relid)
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf
        UNION SELECT c.oid WHERE c.relkind = 'r'
    ) leaf
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%s)
      AND pg_relation_size(leaf.relid) > 0
"""


def empty_database() -> None:
    """Delete every row of every model's table of this process's database."""
    arranger = _arranger(connection.settings_dict["NAME"])
    tables = sorted(set(connection.introspection.django_table_names()) - KEPT)
    connection.close()
    written = arranger.execute(WRITTEN, [tables]).fetchall()
    deletes = [sql.SQL("DELETE FROM {}").format(sql.SQL(name)) for name, _ in written]
    if deletes:
        arranger.execute(sql.SQL("; ").join(deletes))
    for name, size in written:
        if size > LARGE_BYTES:
            arranger.execute(sql.SQL("VACUUM {}").format(sql.SQL(name)))


@cache
def _arranger(name: str) -> psycopg.Connection:
    """A superuser's connection kept for the whole run, for which no trigger and no key counts."""
    arranger = superuser(Cluster(home_from(os.environ)), name)
    arranger.execute("SET session_replication_role = replica")
    return arranger
