"""Objects through time: linking, divisions, corrections and files."""
