"""Tracking of objects: linking, divisions, corrections and files."""
