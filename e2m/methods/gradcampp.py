"""Grad-CAM++ (Chattopadhyay, Sarkar, Howlader and Balasubramanian, WACV 2018, arXiv 1710.11063).

With features A_k(i, j) of the layer and g_k(i, j) = dz_c / dA_k(i, j), the gradient of the logit of class c:

    alpha_k(i, j) = g^2 / (2 g^2 + g^3 sum_ab A_k(a, b))    0 where g is 0
    w_k           = sum_ij alpha_k(i, j) relu(g_k(i, j))
    map(x, y)     = relu(sum_k w_k A_k(x, y))

The paper differentiates exp(z_c), so that the second and third derivatives are powers of g. Its factor exp(z_c) scales
the whole map and vanishes when maps are normalised. TorchCAM adds 1e-8 to the denominator. For a layer
of 7x7 cells, that is as large as g^2, and it changed normalised maps of our networks by up to 0.2. It is left out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2m.methods import ForwardPass
from e2m.methods import Method as Base

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("GradCAMpp",)


class Method(Base):
    """Grad-CAM whose weights sum over the cells with a positive gradient; one gradient, as for Grad-CAM."""

    needs = "layer"

    def maps(self, forward: ForwardPass, classes: Tensor, logits: Tensor) -> Tensor:
        """Rectified maps (n, h, w)."""
        import torch

        gradient = forward.gradient(logits.gather(1, classes[:, None]).sum())
        sums = forward.features.sum((2, 3), keepdim=True)
        # g^2 is cancelled: it underflows in single precision long before g does.
        denominator = 2 + gradient * sums
        shares = torch.where(denominator != 0, gradient.relu() / denominator, 0)
        return torch.einsum("nk,nkhw->nhw", shares.sum((2, 3)), forward.features).relu()
