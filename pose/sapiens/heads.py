"""Heads that enlarge features by transposed convolutions: all of v1, v2's pose and parts."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

__all__ = ["DeconvHead", "conv_stack"]

# kernel: (padding, output padding), so that a stride of 2 doubles the size exactly
_DECONV_PADDING = {2: (0, 0), 3: (1, 1), 4: (1, 0)}


class DeconvHead(nn.Module):
    """Transposed convolutions, convolutions, and a last one to the outputs.

    Every layer but the last is followed by a norm and by SiLU. The published heads' norm is
    InstanceNorm without learnt gains, which is why their files hold no tensors for it.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the features and of the output.
    deconv, conv : sequence of int
        Channels after each transposed convolution (each doubles the size) and each convolution.
    final : "final_layer", "conv_seg" or "conv_pose"
        Name of the last layer in published files: v1 pose, dense heads, v2 pose.
    deconv_kernels, conv_kernels : sequence of int, optional
        Kernel sizes; 4 and 1 throughout where not given.
    final_kernel : int
        Kernel size of the last layer.
    norm : callable, optional
        Makes the norm of a number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        deconv: Sequence[int],
        conv: Sequence[int],
        out_channels: int,
        *,
        final: Literal["final_layer", "conv_seg", "conv_pose"],
        deconv_kernels: Sequence[int] | None = None,
        conv_kernels: Sequence[int] | None = None,
        final_kernel: int = 1,
        norm: Callable[[int], nn.Module] = nn.InstanceNorm2d,
    ) -> None:
        super().__init__()
        self.final = final
        self.out_channels = out_channels
        kernels = [4] * len(deconv) if deconv_kernels is None else deconv_kernels
        layers: list[nn.Module] = []
        channels = in_channels
        for width, kernel in zip(deconv, kernels, strict=True):
            layers += [_deconv(channels, width, kernel), norm(width), nn.SiLU()]
            channels = width
        self.deconv_layers = nn.Sequential(*layers)
        self.conv_layers = conv_stack(channels, conv, conv_kernels or [1] * len(conv), norm=norm)
        channels = conv[-1] if conv else channels
        last = nn.Conv2d(channels, out_channels, final_kernel, padding=final_kernel // 2)
        self.add_module(final, last)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, in_channels, rows, columns) to (batch, out_channels, rows', columns').

        The size doubles with every transposed convolution.
        """
        features = self.conv_layers(self.deconv_layers(features))
        return self.get_submodule(self.final)(features)


def conv_stack(
    in_channels: int,
    widths: Sequence[int],
    kernels: Sequence[int],
    *,
    stride: int = 1,
    norm: Callable[[int], nn.Module] = nn.InstanceNorm2d,
) -> nn.Sequential:
    """Convolutions that keep the size (or divide it by ``stride``), each with norm and SiLU."""
    layers: list[nn.Module] = []
    for width, kernel in zip(widths, kernels, strict=True):
        conv = nn.Conv2d(in_channels, width, kernel, stride=stride, padding=kernel // 2)
        layers += [conv, norm(width), nn.SiLU()]
        in_channels = width
    return nn.Sequential(*layers)


def _deconv(in_channels: int, out_channels: int, kernel: int) -> nn.ConvTranspose2d:
    if kernel not in _DECONV_PADDING:
        known = ", ".join(map(str, _DECONV_PADDING))
        raise ValueError(f"a transposed convolution's kernel must be one of {known}, got {kernel}")
    padding, output_padding = _DECONV_PADDING[kernel]
    return nn.ConvTranspose2d(
        in_channels,
        out_channels,
        kernel,
        stride=2,
        padding=padding,
        output_padding=output_padding,
        bias=False,
    )
