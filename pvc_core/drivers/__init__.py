"""The real ports."""
