"""Readers of image files of all formats."""
