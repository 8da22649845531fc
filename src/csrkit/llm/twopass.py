"""A gradient over a batch that does not fit: two passes, after GradCache (arXiv 2101.06983).

    pass 1   encode every micro-batch without gradient; the loss over all codes gives dL/dcode
    pass 2   encode each micro-batch again; backpropagate dL/dcode through it

The result is the gradient of the whole batch, exactly: dropout draws the same numbers in both
passes. The same step serves several processes: each encodes its part, the codes are gathered,
every process computes the loss over all of them and backpropagates through its own, and the
gradients are added up. With one process and one micro-batch it is the plain step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed

from csrkit.llm.batches import Batch
from csrkit.llm.encoding import Side, TextEncoder
from csrkit.llm.objective import Codes, Objective, Parts

__all__ = ["World", "backward", "join", "sum_gradients", "world"]


class World(NamedTuple):
    """The processes that train together: torchrun's, or this one alone.

    Attributes:
        rank: Number of this process.
        size: How many there are.
    """

    rank: int
    size: int


def world() -> World:
    """Return the place of this process in ``torch.distributed``, if that was initialised."""
    if distributed.is_available() and distributed.is_initialized():
        return World(distributed.get_rank(), distributed.get_world_size())
    return World(0, 1)


def join(device: str) -> World:
    """Join the processes that torchrun has started, as its environment variables say.

    Args:
        device: Torch device that trains; of "cuda" each process takes one.

    Returns:
        The place of this process; alone if torchrun has not started it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    return world()


class _Piece(NamedTuple):
    """A micro-batch: token ids of texts of one side, and its codes' rows among all of its side."""

    side: Side
    rows: list[list[int]]


def backward(
    encoder: TextEncoder,
    objective: Objective,
    batch: Batch,
    step: int,
    micro_batch: int | None = None,
) -> Parts:
    """Add the gradient of a batch to the parameters' ``grad``.

    Args:
        encoder: Whose parameters are trained.
        objective: The loss.
        batch: All of it, the same in every process; its queries divide by the processes.
        step: Optimiser steps taken.
        micro_batch: Queries, with their documents, that are encoded at once; None for all.

    Returns:
        The loss and its parts, the same in every process.
    """
    where = world()
    pieces = list(_pieces(encoder, batch, where, micro_batch))
    device = encoder.backbone.device
    positives = batch.positives.to(device)
    teacher = None if batch.teacher is None else batch.teacher.to(device)
    if len(pieces) == 2 and where.size == 1:  # nothing to save by two passes
        queries, documents = (encoder(piece.rows, piece.side) for piece in pieces)
        parts = objective(queries, documents, positives, teacher, step)
        parts.total.backward()  # type: ignore[no-untyped-call]  # torch's own stubs
        return parts._replace(total=parts.total.detach())
    states, codes = [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_random_state(device))
            codes.append(encoder(piece.rows, piece.side))
    own = [_joined([c for p, c in zip(pieces, codes, strict=True) if p.side == side])
           for side in ("query", "document")]  # fmt: skip
    every = [_gathered(one, where) for one in own]
    parts = objective(every[0], every[1], positives, teacher, step)
    parts.total.backward()  # type: ignore[no-untyped-call]  # torch's own stubs
    _second_pass(encoder, pieces, states, own, every, where)
    return parts._replace(total=parts.total.detach())


def _pieces(
    encoder: TextEncoder, batch: Batch, where: World, micro_batch: int | None
) -> Iterator[_Piece]:
    """Cut this process's part of a batch: for each micro-batch its queries, its documents."""
    share = len(batch.queries) // where.size
    length = len(batch.documents) // len(batch.queries)
    step = min(micro_batch or share, share)
    first, last = where.rank * share, (where.rank + 1) * share
    for start in range(first, last, step):
        stop = min(start + step, last)
        yield _Piece("query", encoder.tokenize(batch.queries[start:stop], "query"))
        texts = batch.documents[start * length : stop * length]
        yield _Piece("document", encoder.tokenize(texts, "document"))


def _second_pass(
    encoder: TextEncoder,
    pieces: Sequence[_Piece],
    states: Sequence[Sequence[Tensor]],
    own: Sequence[Codes],
    every: Sequence[Codes],
    where: World,
) -> None:
    """Encode again with gradient, and pass on what each code was told by the loss."""
    device = encoder.backbone.device
    after = _random_state(device)
    done = {"query": 0, "document": 0}
    for piece, state in zip(pieces, states, strict=True):
        number = 0 if piece.side == "query" else 1
        offset = where.rank * _count(own[number]) + done[piece.side]
        _set_random_state(device, state)
        made = encoder(piece.rows, piece.side)
        told = [
            (codes, leaf.grad[offset : offset + len(piece.rows)])
            for codes, leaf in made.map(every[number])
            if leaf is not None and leaf.grad is not None
        ]
        torch.autograd.backward([codes for codes, _ in told], [grad for _, grad in told])
        done[piece.side] += len(piece.rows)
    _set_random_state(device, after)
    if where.size > 1:
        sum_gradients(encoder)


def _count(codes: Codes) -> int:
    return len(codes.map()[0][0])


def _joined(parts: Sequence[Codes]) -> Codes:
    """Stack micro-batches."""
    sparse = [part.sparse for part in parts if part.sparse is not None]
    dense = [part.dense for part in parts if part.dense is not None]
    return Codes(torch.cat(sparse) if sparse else None, torch.cat(dense) if dense else None)


def _gathered(codes: Codes, where: World) -> Codes:
    """Return the codes of all processes, in their order, as leaves that take a gradient."""

    def gather(own: Tensor | None) -> Tensor | None:
        if own is None:
            return None
        if where.size > 1:
            parts = [torch.empty_like(own) for _ in range(where.size)]
            distributed.all_gather(parts, own.contiguous())
            own = torch.cat(parts)
        return own.detach().requires_grad_()

    return Codes(gather(codes.sparse), gather(codes.dense))


def sum_gradients(encoder: TextEncoder) -> None:
    """Add up the gradients of all processes, each of which then has the sum.

    Args:
        encoder: Whose parameters are trained.
    """
    parameters = [*encoder.backbone.model.parameters(), *encoder.head.parameters()]
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_random_state(device: torch.device, states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
