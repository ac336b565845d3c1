"""Threads, models and settings of a session."""
