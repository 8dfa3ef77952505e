"""Django's settings and URLs, and this process's connection to the cluster."""
