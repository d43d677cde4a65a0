"""Finds what is built badly in a workflow: rules over the neutral graph and what history says."""
