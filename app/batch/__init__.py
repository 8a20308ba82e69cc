"""Batches: any number of captures, from anywhere, on one machine or several."""

from .captures import Capture, Source
from .ledger import Progress
from .pipeline import Pipeline, reconstruct
from .sources import open_source

__all__ = ["Capture", "Pipeline", "Progress", "Source", "open_source", "reconstruct"]
