"""The faces of the cluster that speak HTTP: the REST API, its accounts and its tasks."""
