"""Many images: their files, labels and records, without a viewer."""
