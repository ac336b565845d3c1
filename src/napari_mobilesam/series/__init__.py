"""Series of images: files, labels and records, without a viewer."""
