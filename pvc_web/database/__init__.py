"""The database of this process: one of several servers, which may die and be succeeded by another."""
