"""How a query is known to be one harmless read, in each dialect."""
