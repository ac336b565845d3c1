"""Series of images, without a window."""
