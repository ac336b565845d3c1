"""Threads, models and settings that the parts of a session share."""
