"""Honey jars: where scrubbed records land, and how people read them."""
