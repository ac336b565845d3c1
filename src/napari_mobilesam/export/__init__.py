"""Label images to and from the formats of other programs."""
