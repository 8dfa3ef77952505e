"""The node daemon: keeps its node's sign of life, and makes its machines what the cluster wants them to be."""
