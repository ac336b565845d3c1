"""Segment everything in a session: runs, selection, output."""
