"""A real cluster on one Linux machine, for everyday work and for tests."""
