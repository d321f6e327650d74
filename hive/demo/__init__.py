"""Sample sources that ship with the project: what `make demo` collects from. Everybody in them is made up."""
