"""In-memory twins of the ports, for simulation and fast tests; the contract suite holds them to the drivers."""
