"""The roles of reStructuredText in docstrings, as Markdown."""

import re
from typing import Any

from griffe import Extension, Object

_NAME = re.compile(r":(?:class|func|meth|mod|attr|data):`~?(?:[\w.]*\.)?(\w+)`")
_INLINE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^\.\. math::[ ]*(.+(?:\n(?:[ ]+.+|[ ]*(?=\n[ ]{3}))$)*)", re.MULTILINE)


def to_markdown(text: str) -> str:
    """Replace cross references and formulas.

    >>> to_markdown(r"The gain :math:`s` of :class:`~barelens.imaging.Tikhonov`.")
    'The gain $s$ of `Tikhonov`.'
    """
    text = _NAME.sub(r"`\1`", text)
    text = _INLINE.sub(lambda found: f"${' '.join(found[1].split())}$", text)
    return _BLOCK.sub(lambda found: f"$$\n{' '.join(found[1].split())}\n$$", text)


class Roles(Extension):
    """Translate the docstring of everything that is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Translate one docstring."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
