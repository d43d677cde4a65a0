"""The log: one SQLite file that keeps what ran and, as a spool, what is still to be sent."""
