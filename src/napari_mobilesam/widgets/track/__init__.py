"""Tracking of labelled objects through time."""
