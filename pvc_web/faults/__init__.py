"""Faults in the REST API."""
