"""Virtual machines in the REST API."""
