"""Image files in; label images and tables out."""
