"""Controls shared by the dock widgets."""
