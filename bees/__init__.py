"""Readers of sources: one file a connector, its name is the file's name. A bee runs in a bare Python prompt."""
