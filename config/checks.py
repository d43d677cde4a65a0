"""System checks of the installation (filled in with the start-up refusals)."""
