"""Objects of a labels target: records, history and classes."""
