"""How a query is held to the rows that it may see, in each dialect."""
