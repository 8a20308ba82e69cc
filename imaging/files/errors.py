"""The one error of every reader."""

__all__ = ["FileError"]


class FileError(ValueError):
    """A file cannot be read; the message is one line, its path first and then what is wrong."""
