"""Planes of images, their pixels and their embeddings."""
