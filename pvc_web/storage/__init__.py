"""Pools and volumes in the REST API."""
