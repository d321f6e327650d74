"""File systems as the file bee sees them: files in the order of their paths, read from any place on."""
