"""How long executions are kept (`monitoring.horizon`: what is past), and how they go.

    removal.py   a tenant's past executions go, a thousand at a time
    keeping.py   what stays although it is past
    staying.py   what stays of a past week, and whether it can go as a whole
    weeks.py     the oldest week's partitions go at once
    preview.py   what would go, counted without reading history

The numbers and error groups of what is removed stay; `metrics.sealing` says from when on they can
still be counted again.
"""
