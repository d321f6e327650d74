"""Personal data out, before anything readable is stored."""
