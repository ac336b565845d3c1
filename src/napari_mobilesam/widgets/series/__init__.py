"""Series of images."""
