"""The few sparse products a training step is made of, with exact gradients.

A step makes **one** dense product, ``x @ W.T`` of (batch, dim) by (dim,
latents). Everything after it touches only the k selected latents of each row:

    encode  v[b, j] = x[b] . W[i[b, j]] + bias[i[b, j]]      the k largest of a row
    decode  y[b]    = sum_j v[b, j] W[i[b, j]]                an embedding bag
    scores  s[q, d] = sum_j v_q[q, j] z_d[d, i_q[q, j]]       an embedding bag

and so do the gradients: to ``W``, an embedding bag over the transposed
selection; to ``v``, one dot product per selected latent. Nothing of size
(batch, latents) is written but the product itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

__all__ = ["Selection", "encode_top", "gather_scores", "prefix_errors"]

CPU_BLOCK_ENTRIES = 1 << 22  # pre-activations made at a time: 16 MB; 4 MB costs the product 10%


class Selection(NamedTuple):
    """The k largest pre-activations of each row, in falling order.

    Attributes:
        values: float (batch, k), before the ReLU; gradients flow through them.
        indices: int64 (batch, k), the latents they belong to.
    """

    values: Tensor
    indices: Tensor


def _bag(indices: Tensor, values: Tensor, table: Tensor) -> Tensor:
    """Return ``sum_j values[b, j] * table[indices[b, j]]``, (batch, width)."""
    if not indices.numel():  # a rung as long as the one before; torch wants a latent per bag
        return table.new_zeros(len(indices), table.shape[1])
    return functional.embedding_bag(
        indices, table, per_sample_weights=values.contiguous(), mode="sum"
    )


def _dots(indices: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    """Return ``rows[b] . table[indices[b, j]]``, (batch, k)."""
    batch, k = indices.shape
    # the gradient of an embedding bag to its weights is this product exactly
    flat = indices.reshape(-1).contiguous()  # one column of many is a strided view
    offsets = torch.arange(batch, device=indices.device) * k
    bag_of = torch.repeat_interleave(torch.arange(batch, device=indices.device), k)
    grad: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        rows.contiguous(), table, flat, offsets, bag_of, 0
    )
    return grad.view(batch, k)


class _Transposed(NamedTuple):
    """The selection seen from the latents: which entries chose each of them."""

    order: Tensor  # int64 (entries,), entries sorted by latent
    offsets: Tensor  # int64 (latents,), first entry of each latent


def _transpose(indices: Tensor, latents: int) -> _Transposed:
    flat = indices.reshape(-1)
    counts = torch.bincount(flat, minlength=latents)
    offsets = counts.cumsum(0) - counts
    return _Transposed(torch.argsort(flat, stable=True), offsets)


def _scatter(transposed: _Transposed, weights: Tensor, source_row: Tensor, table: Tensor) -> Tensor:
    """Return ``sum over entries of latent l: weights * table[source_row]``, (latents, width)."""
    order = transposed.order
    return functional.embedding_bag(
        source_row.reshape(-1)[order],
        table,
        offsets=transposed.offsets,
        per_sample_weights=weights.reshape(-1)[order],
        mode="sum",
    )


class _EncodeTop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, k: int, dead: Tensor, k_dead: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        parts = [
            _top_of_block(block, weight, bias, k, dead, k_dead)
            for block in x.split(_block_rows(x, len(weight)))  # type: ignore[no-untyped-call]  # torch's own stubs
        ]
        values, indices, dead_values, dead_indices = (
            torch.cat(column) for column in zip(*parts, strict=True)
        )
        ctx.save_for_backward(x, torch.cat([indices, dead_indices], dim=1))
        ctx.latents = len(weight)
        ctx.mark_non_differentiable(indices, dead_indices)
        return values, indices, dead_values, dead_indices

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, indices = ctx.saved_tensors
        grad = torch.cat([grads[0], grads[2]], dim=1)
        rows = torch.arange(len(x), device=x.device)[:, None].expand_as(indices)
        transposed = _transpose(indices, ctx.latents)
        grad_weight = _scatter(transposed, grad, rows, x)
        grad_bias = grad.new_zeros(ctx.latents)
        grad_bias.index_add_(0, indices.reshape(-1), grad.reshape(-1))
        return None, grad_weight, grad_bias, None, None, None


def _block_rows(x: Tensor, latents: int) -> int:
    """Rows whose pre-activations stay in cache on a CPU; all of them elsewhere."""
    return max(64, CPU_BLOCK_ENTRIES // latents) if x.device.type == "cpu" else len(x)


def _top_of_block(
    x: Tensor, weight: Tensor, bias: Tensor, k: int, dead: Tensor, k_dead: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pre = torch.mm(x, weight.T)  # (rows, latents): the one dense product
    pre += bias
    values, indices = torch.topk(pre, k, dim=1)
    if not k_dead:
        return values, indices, values[:, :0], indices[:, :0]
    dead_values, position = torch.topk(pre[:, dead], k_dead, dim=1)
    return values, indices, dead_values, dead[position]


def encode_top(
    x: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "latents dim"],
    bias: Float[Tensor, " latents"],
    k: int,
    dead: Int[Tensor, " n_dead"] | None = None,
    k_dead: int = 0,
) -> tuple[Selection, Selection]:
    """Select the k largest pre-activations of each row, and of the dead latents.

    Args:
        x: Centred inputs, float (batch, dim). They get no gradient.
        weight: Encoder rows, float (latents, dim).
        bias: Added to the pre-activations, float (latents,).
        k: Latents to select per row.
        dead: Latents that count as dead, int64 (n_dead,); the second selection
            is among these only (the others are masked by leaving them out, so
            nothing is changed in place).
        k_dead: How many of the dead to select, at most n_dead; 0 for none.

    Returns:
        The selection among all latents, (batch, k), and the one among the dead
        latents, (batch, k_dead).
    """
    if dead is None:
        dead = torch.empty(0, dtype=torch.int64, device=x.device)
    alive = _EncodeTop.apply(x, weight, bias, k, dead, k_dead)  # type: ignore[no-untyped-call]  # torch's own stubs
    return Selection(alive[0], alive[1]), Selection(alive[2], alive[3])


class _PrefixErrors(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor,
        values: Tensor,
        indices: Tensor,
        weight: Tensor,
        ladder: tuple[int, ...],
    ) -> tuple[Tensor, Tensor]:
        residuals = x.new_empty(len(ladder), *x.shape)
        start, previous = 0, bias - x
        for rung, stop in enumerate(ladder):
            step = _bag(indices[:, start:stop], values[:, start:stop], weight)
            previous = torch.add(previous, step, out=residuals[rung])
            start = stop
        ctx.save_for_backward(residuals, values, indices, weight)
        ctx.ladder = ladder
        ctx.mark_non_differentiable(residuals)
        flat = residuals.view(len(ladder), -1)
        return torch.stack([torch.dot(row, row) for row in flat]), residuals

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        residuals, values, indices, weight = ctx.saved_tensors
        ladder: tuple[int, ...] = ctx.ladder
        batch, dim = residuals.shape[1:]
        grad_values = torch.zeros_like(values)
        source = torch.empty_like(indices[:, : ladder[-1]])
        rows = torch.arange(batch, device=values.device)[:, None]
        suffix = torch.empty_like(residuals)
        # a latent of rung r takes part in every longer prefix: sum from behind
        for rung in reversed(range(len(ladder))):
            factor, own = 2 * grads[0][rung], residuals[rung]
            if rung + 1 < len(ladder):
                torch.addcmul(suffix[rung + 1], own, factor, out=suffix[rung])
            else:
                torch.mul(own, factor, out=suffix[rung])
            part = slice(ladder[rung - 1] if rung else 0, ladder[rung])
            grad_values[:, part] = _dots(indices[:, part], suffix[rung], weight)
            source[:, part] = rows + rung * batch
        used = slice(0, ladder[-1])
        transposed = _transpose(indices[:, used], len(weight))
        grad_weight = _scatter(transposed, values[:, used], source, suffix.view(-1, dim))
        return None, suffix[0].sum(dim=0), grad_values, None, grad_weight, None


def prefix_errors(
    x: Float[Tensor, "batch dim"],
    bias: Float[Tensor, " dim"],
    selection: Selection,
    weight: Float[Tensor, "latents dim"],
    ladder: tuple[int, ...],
) -> tuple[Float[Tensor, " rungs"], Float[Tensor, "rungs batch dim"]]:
    """Decode the first ``ladder[r]`` latents of each row and compare, for every rung.

    One pass over the longest prefix serves all rungs; the residuals are kept
    for the backward pass, so that nothing of size (rungs, batch, dim) is made
    twice.

    Args:
        x: What should come out, float (batch, dim); gets no gradient.
        bias: Added to every reconstruction, float (dim,).
        selection: Values and latents, (batch, k), k at least ``ladder[-1]``.
        weight: Decoder rows, float (latents, dim).
        ladder: Rising prefix lengths.

    Returns:
        Squared error of each rung, summed over the batch, float (rungs,), with
        gradients; and the residuals ``x_hat - x`` without.
    """
    errors, residuals = _PrefixErrors.apply(  # type: ignore[no-untyped-call]  # torch's own stubs
        x, bias, selection.values, selection.indices, weight, ladder
    )
    return errors, residuals


class _GatherScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_values: Tensor,
        q_indices: Tensor,
        d_values: Tensor,
        d_indices: Tensor,
        latents: int,
    ) -> Tensor:
        d_table = _dense_columns(d_values, d_indices, latents)
        ctx.save_for_backward(q_values, q_indices, d_indices, d_table)
        return _bag(q_indices, q_values, d_table)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_values, q_indices, d_indices, d_table = ctx.saved_tensors
        q_table = _dense_columns(q_values, q_indices, len(d_table))
        grad_q = _dots(q_indices, grads[0], d_table)
        grad_d = _dots(d_indices, grads[0].T, q_table)
        return grad_q, None, grad_d, None, None


def _dense_columns(values: Tensor, indices: Tensor, latents: int) -> Tensor:
    """Write codes as the columns of a dense (latents, batch) table."""
    batch = len(values)
    table = values.new_zeros(latents * batch)
    flat = indices * batch + torch.arange(batch, device=values.device)[:, None]
    table[flat.reshape(-1)] = values.reshape(-1)
    return table.view(latents, batch)


def gather_scores(
    queries: Selection, documents: Selection, latents: int
) -> Float[Tensor, "queries documents"]:
    """Inner products of all query codes with all document codes.

    Args:
        queries: Values and latents, (queries, k_query).
        documents: Values and latents, (documents, k_document).
        latents: Width of the sparse space.

    Returns:
        float (queries, documents), with gradients to both sides' values.
    """
    result: Tensor = _GatherScores.apply(  # type: ignore[no-untyped-call]  # torch's own stubs
        queries.values, queries.indices, documents.values, documents.indices, latents
    )
    return result
