"""Session files: objects with their prompts, saved and restored."""
