"""The terms that come with published weights, shown where they are loaded."""

import warnings
from typing import Literal

__all__ = ["LICENCES", "LicenceNotice", "show_licence"]

LICENCES = {
    "sapiens": (
        "These are Sapiens weights by Meta under CC BY-NC 4.0: non-commercial use only, with "
        "attribution. https://creativecommons.org/licenses/by-nc/4.0/"
    ),
    "sapiens2": (
        "These are Sapiens2 weights by Meta under the Sapiens2 License: among other terms it "
        "excludes surveillance, biometric processing and military use, and binds whoever passes "
        "weights or derivatives on. Read the LICENSE file beside the weights."
    ),
}

_shown: set[str] = set()


class LicenceNotice(UserWarning):
    """The licence of weights that have been loaded; filter this class to silence it."""


def show_licence(family: Literal["sapiens", "sapiens2"], *, stacklevel: int = 2) -> None:
    """Warn once in a process about the terms of a family's published weights."""
    if family not in _shown:
        _shown.add(family)
        warnings.warn(LICENCES[family], LicenceNotice, stacklevel=stacklevel + 1)
