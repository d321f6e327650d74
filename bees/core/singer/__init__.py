"""Behind the Singer bee: a tap's process, its messages, its catalog."""
