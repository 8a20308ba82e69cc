"""Command line, pipeline and web demo: everything that puts the other packages together."""
