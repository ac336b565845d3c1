"""Convert label images to and from the formats of other programs."""
