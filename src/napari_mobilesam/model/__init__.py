"""MobileSAM and SAM in torch, with one module per component."""
