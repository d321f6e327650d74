"""The ledger: PostgreSQL owns the truth about every flight, task, batch and record. Redis only carries hints."""
