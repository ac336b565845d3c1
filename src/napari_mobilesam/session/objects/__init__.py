"""Objects of a labels target: records, history, classes."""
