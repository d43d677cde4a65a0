"""The command `flowwatch-client`."""

from flowwatch_client.cli.main import main

__all__ = ["main"]
