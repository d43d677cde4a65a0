"""Turns what runs into rows: workflows, nodes, and what they say about themselves."""
