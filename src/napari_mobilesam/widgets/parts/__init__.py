"""Controls that the dock widgets share."""
