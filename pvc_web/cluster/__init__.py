"""The cluster as a whole in the REST API: version, status, maintenance."""
