"""Lensless and human-centric computational imaging.

The packages ``barelens.imaging``, ``barelens.calibration``, ``barelens.pose`` and ``barelens.app``
hold everything; named here is what reconstructs captures in one call. It is imported when it is
asked for, so that ``import barelens`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app.batch import Pipeline as Pipeline
    from .app.batch import reconstruct as reconstruct

__all__ = ["Pipeline", "reconstruct"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from .app import batch

        return getattr(batch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
