"""The page for people: the live cluster in the browser, on top of the REST API."""
