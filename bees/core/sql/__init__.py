"""What the database bees share: reading a catalog, exact select lists, and keysets that resume after any row."""
