"""How the weights start: where rows leave the mean, moved by k-means if asked."""

from __future__ import annotations

import numpy as np
import torch

from csrkit.training.autoencoder import Autoencoder

LATENTS = 5


def start(rows: torch.Tensor, rounds: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    model = Autoencoder(
        rows, rows.mean(dim=0), LATENTS, tied=True, rounds=rounds, generator=generator
    )
    return model.encoder.detach().numpy()


def clusters() -> torch.Tensor:
    """Thirteen rows around each of three directions."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.eye(3, 8).repeat_interleave(13, dim=0)
    noisy = rows + 0.2 * torch.randn(39, 8, generator=generator)
    return torch.nn.functional.normalize(noisy, dim=1)[torch.randperm(39, generator=generator)]


def test_rounds_of_kmeans_are_lloyds() -> None:
    rows = clusters()
    away = (rows - rows.mean(dim=0)).numpy().astype(np.float64)
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    generator = torch.Generator().manual_seed(0)
    pick = torch.randint(len(rows), (LATENTS,), generator=generator).numpy()
    noise = torch.randn(LATENTS, 8, generator=generator).numpy().astype(np.float64)
    centres = away[pick]
    for _ in range(2):
        nearest = (away @ centres.T).argmax(axis=1)
        # a picked row is nearest to itself, or to its twin, so that a centre may be alone
        sums = [away[nearest == j].sum(axis=0) for j in range(LATENTS)]
        centres = np.stack([s if s.any() else c for s, c in zip(sums, centres, strict=True)])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    centres += 0.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    np.testing.assert_allclose(start(rows, rounds=2), centres, atol=1e-5)
    assert np.abs(start(rows, rounds=0) - centres).max() > 0.1


def test_rows_that_are_all_alike_start_finite() -> None:
    rows = torch.eye(1, 8).expand(40, 8)
    assert np.isfinite(start(rows, rounds=3)).all()
