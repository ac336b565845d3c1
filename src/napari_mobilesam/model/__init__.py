"""MobileSAM and SAM in torch: one module per component of the papers."""
