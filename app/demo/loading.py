"""Importing Gradio silently and without what this page has no use for."""

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["app_at_launch_only", "load_gradio"]


def load_gradio() -> Any:
    """Import Gradio with all its reporting to the outside turned off.

    Raises
    ------
    ImportError
        It is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if "gradio" in sys.modules:
        return import_module("gradio")
    try:
        with _without_stubs(), _pandas_later():
            import gradio
    except ImportError as error:
        raise ImportError("the web demo needs Gradio: pip install 'barelens[demo]'") from error
    return gradio


@contextmanager
def _without_stubs() -> Iterator[None]:
    """Keep Gradio from writing type stubs into its own folder, which is half of its import.

    It writes one for each component whose source file :func:`inspect.getfile` finds.
    """
    getfile: Any = inspect.getfile

    def found(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no stubs")
        return str(getfile(thing))

    inspect.getfile = found  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = getfile


class _Later(ModuleType):
    """Stands for a module until one of its attributes is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect asks every module for some
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def _pandas_later() -> Iterator[None]:
    """Let Gradio have pandas, a sixth of its import, when it needs it: for tables of data."""
    if "pandas" in sys.modules:
        yield
        return
    later = sys.modules["pandas"] = _Later("pandas")
    try:
        yield
    finally:
        if sys.modules.get("pandas") is later:  # everybody else gets pandas itself
            del sys.modules["pandas"]


@contextmanager
def app_at_launch_only() -> Iterator[None]:
    """Keep Gradio from making a web application at each step of building a page.

    It makes three that it throws away; the one that is served is made when it is launched.
    """
    app: Any = import_module("gradio.routes").App
    create = vars(app)["create_app"]
    app.create_app = staticmethod(lambda *_, **__: None)
    try:
        yield
    finally:
        app.create_app = create
