"""What is learned, as Equinox modules; no training inside."""
