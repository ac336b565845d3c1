"""Layers of a napari viewer as planes, labels and scene."""
