"""The web demo: the page around :mod:`barelens.app.stages`, and the only place for Gradio.

Importing this package loads neither Gradio nor torch, and showing the first page no torch.
"""

from .page import build_demo
from .server import serve

__all__ = ["build_demo", "serve"]
