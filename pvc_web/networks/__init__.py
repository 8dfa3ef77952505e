"""Networks in the REST API."""
