"""The optional libraries of the refiner, with an instruction where they are missing."""

from typing import Any

__all__ = ["need_diffusers", "need_transformers"]


def need_diffusers() -> Any:
    """Import diffusers.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ImportError("the refiner needs diffusers: pip install 'barelens[refine]'") from error
    return diffusers


def need_transformers() -> Any:
    """Import transformers, which holds the text encoders.

    Raises
    ------
    ImportError
        It is not installed; the message says how to install it.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "a text encoder needs transformers: pip install 'barelens[refine]'"
        ) from error
    return transformers
