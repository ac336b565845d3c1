"""Objects through time: the job, corrections, and commands."""
