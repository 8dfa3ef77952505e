"""Other clusters, to which machines are sent."""
