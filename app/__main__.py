"""``python -m barelens.app`` is the ``barelens`` command."""

from .cli import main

main()
