"""``barelens demo``."""

import typer

from .messages import user_errors

__all__ = ["demo"]


def demo(
    host: str = typer.Option("127.0.0.1", help="Address to listen on; 0.0.0.0 for all."),
    port: int | None = typer.Option(None, help="Port; the first free one from 7860 if left out."),
    workers: int = typer.Option(1, min=1, help="Reconstructions at the same time."),
) -> None:
    """Serve the web demo on this machine; nothing is sent anywhere else."""
    from ..demo import serve

    with user_errors():
        serve(host=host, port=port, workers=workers)
