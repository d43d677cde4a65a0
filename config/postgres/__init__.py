"""The embedded PostgreSQL: binaries, one cluster for each data folder, and the guard around it."""
