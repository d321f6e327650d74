"""Telephone numbers: what may be one, which country's plan it fits, and one written form for each."""
