"""The dock widget “Segment everything”."""
