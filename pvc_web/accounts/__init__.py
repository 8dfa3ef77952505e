"""Users, their roles, and the tokens with which programs act for them."""
