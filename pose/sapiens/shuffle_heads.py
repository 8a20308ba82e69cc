"""Heads of v2 that enlarge features by pixel shuffling: normals, pointmap, albedo, matting."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .heads import conv_stack

__all__ = ["Pointmap", "PointmapHead", "RMSNorm2d", "ShuffleHead", "ShuffleNorm"]

ShuffleNorm = Literal["instance", "rms"]


class Pointmap(NamedTuple):
    """Raw output of a pointmap head; metric coordinates are ``pointmap / scale``.

    Attributes
    ----------
    pointmap : Tensor, shape (batch, 3, height, width)
        X, Y and Z of every pixel in a unit of the picture's own.
    scale : Tensor, shape (batch, 1)
        That unit in 1/metre.
    """

    pointmap: Tensor
    scale: Tensor


class ShuffleHead(nn.Module):
    """Convolution, then pixel shuffling, then more convolutions and a last one to the outputs.

    Every layer but the last is followed by a norm and by SiLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the features and of the output.
    upsample, conv : sequence of int
        Channels after each shuffle (each doubles the size) and after each convolution.
    final : str
        Name of the last layer in published files: ``conv_normal``, ``conv_pointmap``,
        ``conv_albedo`` or ``conv_matting``.
    conv_kernels : sequence of int, optional
        Kernel sizes of the convolutions; 3 throughout where not given.
    final_kernel : int
        Kernel size of the last layer.
    norm : "instance" or "rms"
        InstanceNorm without learnt gains, or, for albedo, RMSNorm over the channels of a pixel,
        which keeps the colour that InstanceNorm would remove.
    sigmoid : bool
        Whether the output passes through a sigmoid (matting).
    """

    def __init__(
        self,
        in_channels: int,
        upsample: Sequence[int],
        conv: Sequence[int],
        out_channels: int,
        *,
        final: str,
        conv_kernels: Sequence[int] | None = None,
        final_kernel: int = 1,
        norm: ShuffleNorm = "instance",
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.final = final
        self.out_channels = out_channels
        self.sigmoid = sigmoid
        make_norm = RMSNorm2d if norm == "rms" else nn.InstanceNorm2d
        self.input_conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1), make_norm(in_channels), nn.SiLU()
        )
        blocks: list[nn.Module] = []
        channels = in_channels
        for width in upsample:
            enlarge = nn.Conv2d(channels, 4 * width, 3, padding=1)
            blocks.append(nn.Sequential(enlarge, nn.PixelShuffle(2), make_norm(width), nn.SiLU()))
            channels = width
        self.upsample_blocks = nn.Sequential(*blocks)
        kernels = [3] * len(conv) if conv_kernels is None else conv_kernels
        self.conv_layers = conv_stack(channels, conv, kernels, norm=make_norm)
        channels = conv[-1] if conv else channels
        last = nn.Conv2d(channels, out_channels, final_kernel, padding=final_kernel // 2)
        self.add_module(final, last)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, in_channels, rows, columns) to (batch, out_channels, rows', columns')."""
        return self._maps(features)

    def _maps(self, features: Tensor) -> Tensor:
        features = self.conv_layers(self.upsample_blocks(self.input_conv(features)))
        output = self.get_submodule(self.final)(features)
        return output.sigmoid() if self.sigmoid else output


class PointmapHead(ShuffleHead):
    """A shuffling head with a branch that finds the scale of the whole picture.

    Parameters
    ----------
    in_channels, upsample, conv, out_channels, final, conv_kernels, final_kernel
        As for :class:`ShuffleHead`.
    scale_conv : sequence of int
        Channels after each convolution of stride 2.
    scale_hidden : sequence of int
        Width after each linear layer but the last.
    scale_inputs : int
        Values that reach the first linear layer, which fixes the size of the picture.
    scale_kernels : sequence of int, optional
        Kernel sizes of the scale branch's convolutions; 1 throughout where not given.
    """

    def __init__(
        self,
        in_channels: int,
        upsample: Sequence[int],
        conv: Sequence[int],
        out_channels: int,
        *,
        scale_conv: Sequence[int],
        scale_hidden: Sequence[int],
        scale_inputs: int,
        scale_kernels: Sequence[int] | None = None,
        final: str = "conv_pointmap",
        conv_kernels: Sequence[int] | None = None,
        final_kernel: int = 1,
    ) -> None:
        super().__init__(
            in_channels,
            upsample,
            conv,
            out_channels,
            final=final,
            conv_kernels=conv_kernels,
            final_kernel=final_kernel,
        )
        self.scale_conv_layers = conv_stack(
            in_channels, scale_conv, scale_kernels or [1] * len(scale_conv), stride=2
        )
        widths = [scale_inputs, *scale_hidden, 1]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.scale_final_layer = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Pointmap:  # type: ignore[override]
        """Map features of the one size the head was made for to points and their scale.

        Raises
        ------
        ValueError
            The features come from a picture of another size.
        """
        summary = self.scale_conv_layers(features)
        linear = self.scale_final_layer[1]
        assert isinstance(linear, nn.Linear)
        if summary[0].numel() != linear.in_features:
            raise ValueError(
                "a pointmap head works at one picture size only: its scale branch wants "
                f"{linear.in_features} values, got {summary[0].numel()}"
            )
        return Pointmap(self._maps(features), self.scale_final_layer(summary))


class RMSNorm2d(nn.Module):
    """RMSNorm over the channels of each pixel, with a learnt gain."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, rows, columns) to the same shape."""
        power = features.float().square().mean(dim=1, keepdim=True)
        normed = (features.float() * torch.rsqrt(power + self.eps)).to(features.dtype)
        return normed * self.weight[:, None, None]
