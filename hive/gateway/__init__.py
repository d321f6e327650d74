"""The HTTP side of the hive: is it alive, and what is it doing."""
