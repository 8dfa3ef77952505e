"""The cluster's state as metrics for Prometheus."""
