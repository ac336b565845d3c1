"""Measurements of objects."""
