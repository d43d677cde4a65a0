"""Real local servers in place of the ones out there."""
