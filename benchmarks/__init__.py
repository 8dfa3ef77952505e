"""Measures what the project promises in figures, each beside the limit taken in the same run."""
