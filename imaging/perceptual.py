"""Learned metrics, with networks and weights that others publish."""

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from .metrics import check_pair, check_range
from .shapes import ShapeError

__all__ = ["LPIPS", "MetricUnavailableError"]

_Network: TypeAlias = Literal["alex", "vgg", "squeeze"]
_TORCHVISION = (
    f"LPIPS needs torchvision in the version that fits the installed torch {torch.__version__}: "
    "see https://pytorch.org/get-started"
)


class MetricUnavailableError(RuntimeError):
    """A learned metric cannot get its network or weights; the message says what to do."""


class LPIPS:
    """Learned perceptual image patch similarity, from torchmetrics.

    It needs ``pip install 'barelens[metrics]'``, the torchvision that fits the installed torch,
    and torchvision's ImageNet weights, which are downloaded once.

    Parameters
    ----------
    network : {"alex", "vgg", "squeeze"}, optional
        The features to compare; "alex" is what papers report unless they say otherwise.
    device : device, optional
        Where the images will be; the CPU where left out.

    Raises
    ------
    ImportError
        torchmetrics or torchvision is not installed, or does not work.
    MetricUnavailableError
        The weights are neither here nor to be downloaded.
    ValueError
        There is no such network.

    References
    ----------
    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
    CVPR 2018.
    """

    def __init__(
        self, network: _Network = "alex", *, device: torch.device | str | None = None
    ) -> None:
        if network not in ("alex", "vgg", "squeeze"):
            raise ValueError(f"network must be 'alex', 'vgg' or 'squeeze', got {network!r}")
        self._network = _load_network(network).to(device)

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor, *, data_range: float) -> Tensor:
        """Compare display images, encoded as sRGB.

        Parameters
        ----------
        image, reference : Tensor, shape (..., 3, height, width)
            Values in [0, data_range]; sides of 64 pixels or more.
        data_range : float
            The value of white, such as 1 or 255.

        Returns
        -------
        Tensor of float32, shape (...)
            0 for equal images.

        Raises
        ------
        ShapeError, TypeError
            The shapes differ, there are not 3 channels, or a dtype is not floating point.
        ValueError
            A value is outside [0, data_range].
        """
        check_range(data_range)
        check_pair(image, reference)
        if image.shape[-3] != 3:
            raise ShapeError(
                f"image must have shape (..., 3, height, width), got {tuple(image.shape)}"
            )
        for name, tensor in (("image", image), ("reference", reference)):
            low, high = float(tensor.min()), float(tensor.max())
            if not (low >= 0 and high <= data_range):
                raise ValueError(f"{name} must lie in [0, {data_range}], got {low} to {high}")
        pair = [
            tensor.reshape(-1, *tensor.shape[-3:]).float() / data_range
            for tensor in (image, reference)
        ]
        return self._network(*pair, normalize=True).reshape(image.shape[:-3])


def _load_network(network: _Network) -> Any:
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise ImportError("LPIPS needs torchmetrics: pip install 'barelens[metrics]'") from error
    try:
        return LearnedPerceptualImagePatchSimilarity(net_type=network).net
    except ImportError as error:
        raise ImportError(_TORCHVISION) from error
    except RuntimeError as error:  # torchvision of another torch's, at its import
        raise ImportError(f"{_TORCHVISION} ({error})") from error
    except OSError as error:  # urllib's URLError among others
        raise MetricUnavailableError(
            f"LPIPS needs the ImageNet weights of {network!r}, which could not be downloaded "
            f"({error}); put torchvision's file into {torch.hub.get_dir()}/checkpoints"
        ) from error
