"""Models as ONNX files, for runtimes without PyTorch."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..imaging.files import atomic_path
from .sapiens import HumanModel
from .sapiens.tasks import canonical_task

__all__ = ["export_onnx"]


def export_onnx(
    model: HumanModel,
    path: str | os.PathLike[str],
    *,
    tasks: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    opset: int = 18,
) -> tuple[str, ...]:
    """Write a model as an ONNX file whose batch size is free.

    The file takes ``pixels``, normalised as :func:`~barelens.pose.preparation.normalise_pixels`
    does, of shape (batch, 3, height, width), and gives the raw output of every head under the
    name of its task; a pointmap's scale under ``scale``. Weights are stored within the file, which
    ONNX limits to 2 GB: larger models do not fit.

    Parameters
    ----------
    model : HumanModel
        In float32; it is not changed.
    path : path
        Where to write; the file appears whole or not at all.
    tasks : sequence of str, optional
        Which heads, in any usual spelling; all where not given.
    image_size : (int, int), optional
        Height and width of the pixels, which the file fixes; the model's own where not given.
    opset : int
        Version of the ONNX operators.

    Returns
    -------
    tuple of str
        Names of the outputs, in order.

    Raises
    ------
    ImportError
        The packages onnx and onnxscript are not installed.
    TypeError
        The model is not in float32.
    ValueError
        The model has no such head.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "export to ONNX needs two packages: pip install 'barelens[onnx]'"
        ) from error
    parameter = next(model.parameters())
    if parameter.dtype != torch.float32:
        raise TypeError(f"model must be in float32, got {parameter.dtype}")
    wanted = model.tasks if tasks is None else [canonical_task(task) for task in tasks]
    chosen = [task for task in model.tasks if task in wanted]
    if len(chosen) != len(set(wanted)):
        raise ValueError(f"tasks must be of {', '.join(model.tasks)}, got {tasks}")
    names: list[str] = []
    for task in chosen:
        names += [task, "scale"] if task == "pointmap" else [task]
    height, width = model.image_size if image_size is None else image_size
    # Of two pictures: a batch of one would be taken for fixed.
    example = torch.zeros(2, 3, height, width, device=parameter.device)
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        # Of the exporter, about its own inner workings.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Flat(model, chosen).eval(),
            (example,),
            temporary,
            input_names=["pixels"],
            output_names=names,
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return tuple(names)


class _Flat(nn.Module):
    """The same model with its outputs in a tuple, as ONNX has them."""

    def __init__(self, model: HumanModel, tasks: Sequence[Any]) -> None:
        super().__init__()
        self.model = model
        self.tasks = list(tasks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model.read(self.model.features(pixels), self.tasks)
        flat: list[Tensor] = []
        for task in self.tasks:
            flat += [outputs[task]] if isinstance(outputs[task], Tensor) else list(outputs[task])
        return tuple(flat)
