"""Ways to record that need no change to the workflow."""
