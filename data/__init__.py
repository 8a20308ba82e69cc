"""The captures and camera records that ship with barelens.

>>> from barelens import data
>>> data.path("flatcam/fc_6.png").name
'fc_6.png'
"""

from pathlib import Path

__all__ = ["path"]


def path(name: str) -> Path:
    """Return where a bundled file lies.

    Parameters
    ----------
    name : str
        Path inside the data folder, such as ``"flatcam/fc_6.png"``.

    Raises
    ------
    FileNotFoundError
        No bundled file has that name; the message lists those there are.
    """
    folder = Path(__file__).parent
    found = folder / name
    if not found.is_file():
        known = sorted(
            str(file.relative_to(folder)) for file in folder.glob("*/*") if file.suffix != ".pyc"
        )
        raise FileNotFoundError(f"no bundled file {name!r}; there are: {', '.join(known)}")
    return found
