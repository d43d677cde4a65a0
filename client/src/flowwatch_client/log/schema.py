"""Tables of the log, and how a file of an older version becomes one of this version.

Every commit that adds or changes a row of `executions` or `node_executions` adds a row to `outbox`: a
record to send. A record is gone from `outbox` when it was sent, refused for good (then it is in
`dead_letters`) or dropped. As `outbox.seq` never repeats, at any time
accepted (`sqlite_sequence`) = sent + dropped (`counters`) + waiting (`outbox`) + `dead_letters`.
"""

from __future__ import annotations

import sqlite3

VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS executions (
  id TEXT PRIMARY KEY,
  workflow_id TEXT NOT NULL,
  workflow_name TEXT NOT NULL,
  status TEXT NOT NULL,
  started_at TEXT NOT NULL,
  completed_at TEXT,
  duration_ms INTEGER,
  trigger_type TEXT NOT NULL,
  trigger_data TEXT NOT NULL,
  error_message TEXT,
  error_stack TEXT,
  error_node_id TEXT,
  created_at TEXT DEFAULT CURRENT_TIMESTAMP,
  attempt INTEGER,
  retry_of TEXT,
  parent_execution_id TEXT,
  parent_node_id TEXT,
  version TEXT,
  tags TEXT,
  keys TEXT,
  result TEXT,
  extra TEXT,
  heartbeat_seconds INTEGER
);
CREATE TABLE IF NOT EXISTS node_executions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  execution_id TEXT NOT NULL,
  node_id TEXT NOT NULL,
  node_name TEXT NOT NULL,
  node_type TEXT NOT NULL,
  status TEXT NOT NULL,
  started_at TEXT,
  completed_at TEXT,
  duration_ms INTEGER,
  input TEXT,
  output TEXT,
  error_message TEXT,
  error_stack TEXT,
  run_index INTEGER NOT NULL,
  attempt INTEGER,
  extra TEXT,
  FOREIGN KEY (execution_id) REFERENCES executions(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_executions_workflow ON executions(workflow_id);
CREATE INDEX IF NOT EXISTS idx_executions_status ON executions(status);
CREATE INDEX IF NOT EXISTS idx_executions_started ON executions(started_at DESC);
CREATE INDEX IF NOT EXISTS idx_node_executions_execution
  ON node_executions(execution_id, node_id, run_index);
CREATE INDEX IF NOT EXISTS idx_node_executions_node ON node_executions(node_id);

CREATE TABLE IF NOT EXISTS outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  execution_id TEXT NOT NULL,
  node_row INTEGER
);
CREATE TABLE IF NOT EXISTS dead_letters (
  seq INTEGER PRIMARY KEY,
  execution_id TEXT NOT NULL,
  node_row INTEGER,
  reason TEXT NOT NULL,
  refused_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (
  name TEXT PRIMARY KEY,
  text TEXT NOT NULL,
  at TEXT NOT NULL
) WITHOUT ROWID;
"""


class NewerFile(Exception):
    """The file was written by a newer version of this library."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file. Raises NewerFile, sqlite3.Error."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise NewerFile(f"The log has version {version}; this library knows up to {VERSION}.")
    if version == VERSION:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:  # an interrupt, too, must not leave it open
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
