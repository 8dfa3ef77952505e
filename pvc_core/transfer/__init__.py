"""Blocks on their way: between images, files and clusters."""
