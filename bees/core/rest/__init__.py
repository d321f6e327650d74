"""What `bees/rest.py` is made of: options, login, templates, windows, formats, one page, child streams."""
