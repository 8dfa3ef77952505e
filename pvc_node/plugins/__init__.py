"""Health plugins: small functions that look at one part of the node each."""
