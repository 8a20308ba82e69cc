"""The few HTML elements that the page is made of; text is escaped, content is not."""

from collections.abc import Sequence
from html import escape

__all__ = ["figure", "numbers", "paragraph", "row", "section", "table"]


def section(title: str, *content: str) -> str:
    """Put content under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def paragraph(text: str, *, note: bool = False) -> str:
    """Set text, small where it is a note."""
    return f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>"


def figure(content: str, caption: str) -> str:
    """Give a picture or plot its caption."""
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def row(*figures: str) -> str:
    """Place figures beside each other where there is room."""
    return f'<div class="row">{"".join(figures)}</div>'


def table(rows: Sequence[tuple[str, str]], *, caption: str) -> str:
    """Set facts with their names."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>"


def numbers(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str) -> str:
    """Set numbers under named columns; the first entry of each row is its name."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for name, *values in rows
    )
    return (
        f'<div class="scroll"><table class="numbers"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )
