"""What the hive counts: in Prometheus' text format, and per connector as JSON. All of it is read from the ledger."""
