"""Data of earlier versions, and migrations beside ingest."""
