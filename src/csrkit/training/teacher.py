"""How much the dense cosines of some data can teach, and the weight that follows.

The similarity distillation asks codes to rank a batch as the dense cosines do. Where the
cosines single out a few neighbours, that lifts recall at every k. Where rows are so much alike
that hundreds share the weight, codes meet the demand by latents that whole groups of rows have in
common: these take the first places of short codes, and fill postings without telling rows apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = ["distillation_weight", "perplexity"]

ROWS = 1024  # over which neighbours are counted, whatever the batch
WEIGHT = 0.15  # where the teacher is sharp
SHARP = 40.0  # neighbours: texts that were tried have fewer, image features more, see quality.md


def perplexity(rows: Float[Tensor, "rows dim"], temperature: float) -> float:
    r"""Count the neighbours that a row's teaching is spread over, in the geometric mean.

    .. math:: \exp \frac1n \sum_i H\left( softmax_{j \ne i}(c_{ij} / \tau) \right)

    Args:
        rows: Rows of norm 1, two or more.
        temperature: tau, positive, of `losses.similarity_distillation`.

    Returns:
        From 1, a single neighbour, to the number of other rows.

    Examples:
        >>> perplexity(torch.eye(5), temperature=0.05)  # all others are equally far
        4.0...
    """
    cosines = (rows @ rows.T / temperature).fill_diagonal_(torch.finfo(rows.dtype).min)
    shares = functional.log_softmax(cosines, dim=1)
    entropies = -(shares.exp() * shares).sum(dim=1)
    return float(entropies.mean().exp())


def distillation_weight(sample: Float[Tensor, "rows dim"], temperature: float) -> float:
    """Choose the weight of the similarity distillation from rows of the data.

    Args:
        sample: Rows of norm 1 in random order, of which the first 1,024 are looked at.
        temperature: Of the distillation, positive.

    Returns:
        0.15 where a row's teaching is spread over at most 40 of 1,024 rows, else less, as
        the square of their number grows.
    """
    found = perplexity(sample[:ROWS], temperature)
    return round(WEIGHT * min(1.0, SHARP / found) ** 2, 4)
