"""What stands between visitors and the server: paths, links, and errors in plain words."""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from .loading import load_gradio

__all__ = ["CANCELLED", "as_uploaded", "explained", "progress", "refuse_links", "upload", "uploads"]

CANCELLED = "Cancelled: the step that is running comes to its end, the rest is left."

#: What a visitor can cause, told in one line; anything else is a fault of ours.
_THEIRS = (ValueError, TypeError, OSError, ImportError, MemoryError)


def explained(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a visitor's errors into messages on the page, for functions and generators."""
    if inspect.isgeneratorfunction(handler):

        @wraps(handler)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise _for_visitors(error) from None

        return steps

    @wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _for_visitors(error) from None

    return call


def _for_visitors(error: Exception) -> Exception:
    gr = load_gradio()
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, _THEIRS):
        text = " ".join(str(error).split()) or type(error).__name__
        return gr.Error(escape(text, quote=False), duration=None, print_exception=False)
    sys.excepthook(type(error), error, error.__traceback__)
    return gr.Error("Something went wrong on the server; the operator has the details.")


def upload(payload: Any) -> Path | None:
    """Give the path of an uploaded file, which lies where Gradio puts uploads and nowhere else.

    Parameters
    ----------
    payload : mapping, str or None
        What Gradio hands to an event or an endpoint for a file.

    Raises
    ------
    ValueError
        It names a file that was never uploaded, or a link.
    """
    from gradio.utils import get_upload_folder

    named = payload.get("path") if isinstance(payload, dict) else payload
    if not named:
        return None
    path = Path(str(named)).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise ValueError("files must be uploaded; paths and links are not opened")
    return path


def as_uploaded(field: Any) -> Any:
    """Let a field hand files on as they were uploaded, for the stages to decode with their limits.

    Gradio would decode pictures itself, and leave an empty file behind for every other.
    """

    def paths(payload: Any) -> Any:
        if payload is None:
            return None
        files = getattr(payload, "root", None)
        return payload.path if files is None else [file.path for file in files]

    field.preprocess = paths
    return field


def uploads(payload: Any) -> list[Path]:
    """Give the paths of several uploaded files."""
    found = [upload(each) for each in payload or []]
    return [path for path in found if path is not None]


def refuse_links() -> None:
    """Keep Gradio from fetching what a visitor's request links to in place of an upload.

    This holds for every page of the process, because Gradio makes a visitor's own copies of fields
    whenever it changes them.
    """
    block: Any = import_module("gradio.blocks").Block
    move = block.async_move_resource_to_block_cache
    if move.__module__ != __name__:  # else done before
        block.async_move_resource_to_block_cache = _local_only(move)


def _local_only(move: Callable[..., Any]) -> Callable[..., Any]:
    async def local(block: Any, source: Any) -> Any:
        if "://" in str(source):
            raise load_gradio().Error(
                "Links are not fetched: upload the file.", print_exception=False
            )
        return await move(block, source)

    return local


def progress() -> Callable[[float, str], None]:
    """Give what shows a share of 1 and a text on the page, inside of an event."""
    bar = load_gradio().Progress()
    return lambda share, text: bar(share, desc=text)
