"""Many senders at once against real server processes: what they were told is what is stored."""
