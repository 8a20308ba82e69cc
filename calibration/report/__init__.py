"""A camera record as a page for people: what it is, how good it is, and what it will see."""

from .findings import findings
from .page import render_report, write_report

__all__ = ["findings", "render_report", "write_report"]
