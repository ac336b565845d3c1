"""Layers of a napari viewer as planes, labels and scene.

A `ViewerModel` here is the viewer itself, never the proxy that napari passes
to plugins; see `unwrap`.
"""
