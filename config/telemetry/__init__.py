"""What Flowwatch tells of itself at `/metrics`, as Prometheus text."""
