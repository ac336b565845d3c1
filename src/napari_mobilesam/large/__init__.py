"""Images that do not fit in memory: tiles, resuming, clusters."""
