"""How long executions are kept, and how they go.

    horizon.py   what is past
    removal.py   a tenant's past executions go, a thousand at a time
    preview.py   what would go, counted without reading history

The numbers and error groups of what is removed stay; `metrics.sealing` says from when on they can
still be counted again.
"""
