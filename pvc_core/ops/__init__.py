"""What a user can ask for, one operation a file. Importing this package registers them all."""
