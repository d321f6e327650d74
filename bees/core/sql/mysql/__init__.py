"""Behind the MySQL bee: session, wire, catalog, exact forms of types, statements, rights, and the binlog."""
