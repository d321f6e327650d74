"""What the whole fleet may ask of a source, kept in the ledger: budgets by credential, breakers by source.

The rules are pure and stand in bees/core/resilience; here are the rows that make many processes obey one of them.
"""
