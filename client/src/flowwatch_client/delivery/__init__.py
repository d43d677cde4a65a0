"""Sends what waits in the log to a Flowwatch server."""
