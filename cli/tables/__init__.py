"""How each kind of thing is shown: its columns in a list, its lines in a sheet. One module a subject."""
