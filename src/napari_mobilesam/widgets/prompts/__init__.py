"""The dock widget “Segment by prompts”."""
