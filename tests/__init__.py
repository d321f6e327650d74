"""A package of its own: what a library installs by the name of `tests` must not stand in its place."""
