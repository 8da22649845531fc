"""sentence-transformers' CSR, fed embeddings: the rival of `fit.py` and `encode.py`.

Its own `SparseAutoEncoder` under its own `CSRLoss` (beta 0.1, gamma 1, its defaults), without the
text backbone that the library would run at every step. Known fault, harmless to a timing: up to
6.1 the auxiliary term overwrote the pre-activations in place, so that the 4k term, computed after
it, reconstructed from dead latents only. `fault` says what the installed version does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def is_installed() -> bool:
    """Tell whether sentence-transformers can be compared with; if not, print why not."""
    try:
        import sentence_transformers  # noqa: F401  # only asked for
    except ImportError:
        print("skipped: sentence-transformers is not installed (pip install 'csrkit[bench]')\n")
        return False
    return True


def autoencoder(dim: int, latents: int, k: int) -> Any:
    """Make the library's module, with the published number of auxiliary latents."""
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    return SparseAutoEncoder(dim, latents, k=k, k_aux=min(512, latents))


def training_step(
    dim: int, latents: int, k: int, columns: Callable[[Tensor], Sequence[Tensor]]
) -> Callable[[Tensor], object]:
    """Make a training step on a batch, which ``columns`` turns into anchors and positives."""
    from sentence_transformers.sparse_encoder.losses import CSRLoss

    torch.manual_seed(0)
    module = autoencoder(dim, latents, k).train()
    loss = CSRLoss(module, beta=0.1, gamma=1.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=4e-4, eps=6.25e-10)

    def step(x: Tensor) -> object:
        parts = loss([{"sentence_embedding": column} for column in columns(x)])
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()
        return parts

    return step


def fault(x: Tensor, latents: int, k: int) -> str:
    """Say what the 4k term of the installed version sees while no latent is dead."""
    import sentence_transformers

    made = autoencoder(x.shape[1], latents, k).train()({"sentence_embedding": x})
    all_latents = made["sentence_embedding_encoded_4k"].any()
    sees = "sees all latents" if all_latents else "sees dead latents only (its in-place mask)"
    return f"sentence-transformers {sentence_transformers.__version__}: its 4k term {sees}\n"
