"""Images that do not fit in memory: tiles, resume, clusters."""
