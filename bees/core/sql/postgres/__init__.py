"""Behind the PostgreSQL bee: session, catalog, exact forms of types, statements, and the place where it resumes."""
