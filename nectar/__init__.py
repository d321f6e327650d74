"""What is carried, and pure steps on it: scrub, extract, chunk. No network, no clock, no database."""
