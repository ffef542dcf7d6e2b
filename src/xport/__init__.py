"""xport."""
