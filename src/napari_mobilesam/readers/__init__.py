"""Image files of every kind, opened in one place."""
