"""Faults that the tests of races must catch, switched on in a server's process by its settings."""
