"""PyTorch's primitives for Fourier transforms."""

from __future__ import annotations

from typing import Any

import torch

from xport.convert.primitives.torch_resampling import TorchResampling


class TorchSignal(TorchResampling):
    """Fourier transforms; complex numbers are pairs along the last axis."""

    def fourier(self, x: Any, axis: int, length: Any, inverse: bool, onesided: bool) -> Any:
        """The discrete Fourier transform along an axis, whose size fits ``length`` already.

        Args:
            x: The signal; its last axis holds the real and perhaps the imaginary part.
            axis: The axis to transform.
            length: The number of points.
            inverse: Whether to transform back.
            onesided: Whether the spectrum holds only its first half, the other being its mirror image.
        """
        kind = x.dtype
        x = x.to(torch.float64)  # so that what ought to cancel does
        signal = torch.complex(x[..., 0], x[..., 1]) if x.shape[-1] == 2 else x[..., 0]
        if inverse and onesided:
            return torch.fft.irfft(signal, length, axis).unsqueeze(-1).to(kind)
        if onesided and not signal.is_complex():
            spectrum = torch.fft.rfft(signal, length, axis)
        else:
            spectrum = (torch.fft.ifft if inverse else torch.fft.fft)(signal, length, axis)
            spectrum = spectrum.narrow(axis, 0, length // 2 + 1) if onesided else spectrum
        return torch.view_as_real(spectrum.resolve_conj()).to(kind)
