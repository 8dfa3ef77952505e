"""Nodes in the REST API."""
