"""Segment everything in a session: runs, sorting, output."""
