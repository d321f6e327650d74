"""Behind the MongoDB bee: session, exact forms of BSON, queries, change streams, and the place where it resumes."""
