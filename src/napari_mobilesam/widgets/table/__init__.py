"""Table of measurements."""
