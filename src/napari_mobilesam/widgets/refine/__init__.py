"""Refinement of labels."""
