"""Root mean square norm."""

import torch
import torch.nn.functional as F
from torch import Tensor


class RmsNorm:
    """Divides the last dimension by its root mean square, then multiplies by weights."""

    def __init__(self, epsilon: float, device: torch.device) -> None:
        self._epsilon = epsilon
        self._epsilon_tensor = torch.tensor(epsilon, dtype=torch.float32, device=device)

    def __call__(self, states: Tensor, weight: Tensor) -> Tensor:
        """`states` (..., features) normed; `weight` (..., features) broadcasts over the rows."""
        if states.is_cpu and states.dtype is torch.float32:
            return self._few_calls(states).mul_(weight)
        return F.rms_norm(states, states.shape[-1:], eps=self._epsilon) * weight

    def _few_calls(self, states: Tensor) -> Tensor:
        """For small batches on CPU: F.rms_norm makes twice the calls there, from within."""
        length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        mean_square = torch.addcmul(
            self._epsilon_tensor, length, length, value=1.0 / states.shape[-1]
        )
        return states * mean_square.rsqrt_()
