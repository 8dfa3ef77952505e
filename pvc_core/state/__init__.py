"""Cluster state in ZooKeeper: where each record lies, how it is written, and a watched picture of the whole."""
