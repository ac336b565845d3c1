"""Objects through time: jobs, corrections and commands."""
