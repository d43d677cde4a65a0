"""Settings, start-up, the embedded database and the process tree. Knows all apps; no app knows it."""
