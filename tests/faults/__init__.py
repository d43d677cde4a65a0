"""Real processes of the carrier, killed and stopped; and the faults that these tests must catch."""
