"""`CSRModel`: frozen weights that turn embeddings into codes and back, in numpy alone.

For a row ``x`` scaled to norm 1 and a chosen k::

    z     = TopK_k(ReLU(W_enc (x - b_pre) + b_enc))      k latents at most
    code  = z / |z|                                      what is stored
    x_hat = b_pre + s_k (code W_dec)                     s_k: one constant per k

It is always fitted and never changes: `csrkit.fit` makes it, `encode` is pure.
Codes stand for **directions**: the length of ``x`` is not kept, as cosine
similarity does not see it. Source: arXiv 2503.01776, equations 2 and 3; the
constant ``s_k`` is csrkit's, so that a normalised code can be decoded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csrkit.errors import ConfigError, ShapeError
from csrkit.model import refitting, residual
from csrkit.model.arrays import add_to_digest, freeze_
from csrkit.model.card import Card
from csrkit.model.config import FORMAT, ModelConfig, array_shapes
from csrkit.model.rows import as_rows, check_width, join_codes, unit_blocks
from csrkit.model.topk import top_of_product
from csrkit.tensors import on_cpu
from csrkit.vectors import SparseVectors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.float32]

__all__ = ["CSRModel", "load"]

QUERY_POWER = 0.8  # flattens the values of a query; chosen on two data sets, see query-side.md


@dataclass(frozen=True, eq=False, kw_only=True)
class CSRModel:
    """A fitted CSR model; numpy arrays of float32, read-only.

    Attributes:
        config: Sizes, ladder and provenance.
        encoder: (n_latents, dim), the rows of W_enc.
        latent_bias: (n_latents,), b_enc.
        pre_bias: (dim,), b_pre.
        decoder: (n_latents, dim), the rows of W_dec; of a tied model the encoder itself.
        scales: (4 * ladder[-1] + 1,), s_k for codes of 0, 1, 2, ... latents, at
            most n_latents of them; longer codes use the last one.
        loads: (rungs, n_latents), the share of training rows in which each
            latent fires at each rung, in [0, 1].
        residual_basis: (m, dim), the directions of the residual bits, each as long as the
            residuals are spread along it; None for the coordinate axes.
        card: What `csrkit.tune` measured of this model, or None. No part of the
            fingerprint.

    Raises:
        ShapeError: If an array does not fit the config, or is not finite.
        ConfigError: If the card was measured with another model.
    """

    config: ModelConfig
    encoder: Floats
    latent_bias: Floats
    pre_bias: Floats
    decoder: Floats
    scales: Floats
    loads: Floats
    residual_basis: Floats | None = None
    card: Card | None = None

    def __post_init__(self) -> None:
        freeze_(self, array_shapes(self.config))
        if self.residual_basis is not None and not self.config.residual_bits:
            raise ShapeError("expected residual_bits in the config of a residual_basis, got none")
        tied = np.array_equal(self.encoder.view(np.int32), self.decoder.view(np.int32))
        if tied:  # bit for bit: one array, and one in the file
            object.__setattr__(self, "decoder", self.encoder)
        config = self.config.model_copy(update={"format": FORMAT if tied else 1})
        object.__setattr__(self, "config", config)
        if not isinstance(self.card, Card | None):
            raise ConfigError(f"expected a Card of csrkit.tune, got {type(self.card).__name__}")
        if self.card is not None and self.card.fingerprint != self.fingerprint:
            raise ConfigError(
                f"expected a card of the model {self.fingerprint[:12]}, got one measured with "
                f"{self.card.fingerprint[:12]}: tune this model"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # checked and read-only again

    @property
    def dim(self) -> int:
        """Width of the dense embeddings."""
        return self.config.dim

    @property
    def n_latents(self) -> int:
        """Width of the codes."""
        return self.config.n_latents

    @property
    def ladder(self) -> tuple[int, ...]:
        """The values of k that the model was trained at, rising."""
        return self.config.ladder

    def __repr__(self) -> str:
        return (
            f"CSRModel(dim={self.dim}, n_latents={self.n_latents}, ladder={self.ladder}, "
            f"fingerprint={self.fingerprint[:12]!r})"
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over config and weights, 64 hexadecimal digits.

        Two models with one fingerprint make the same codes; codes of different
        fingerprints must never share an index.
        """
        config = self.config.model_copy(update={"format": 1})  # a layout changes no model
        digest = hashlib.sha256(config.model_dump_json().encode())
        add_to_digest(digest, self, sorted(array_shapes(self.config)))
        return digest.hexdigest()

    @cached_property
    def _bias(self) -> Floats:
        """``b_enc - W_enc b_pre``: what remains of both biases after the product."""
        return self.latent_bias - self.encoder @ self.pre_bias

    # -- encode and decode ----------------------------------------------------

    def encode(
        self, embeddings: ArrayLike, *, k: int | None = None, device: str | None = None
    ) -> SparseVectors:
        """Turn embeddings into L2-normalised codes of at most k latents.

        Works in blocks: beyond input and output it needs a few megabytes. A
        torch tensor on a GPU is encoded by torch where it lives and gets the same
        latents; on the CPU numpy encodes everything, tensors through a view.

        Args:
            embeddings: Numbers of shape (n, dim), any float type; rows of any
                non-zero length.
            k: Latents per code, from 1 to n_latents; by default the longest
                rung. A shorter code is a prefix of a longer one:
                ``encode(x, k=64).top(8).normalized()`` is ``encode(x, k=8)``.
            device: Where to encode: "cpu", or a torch device such as "cuda", which
                needs torch; by default where the embeddings are.

        Returns:
            n codes of width n_latents with positive values. A row in which no
            latent fires gives an empty code.

        Raises:
            ShapeError: If the shape is not (n, dim), or a row is zero or not finite.
            ConfigError: If k is out of range, or this machine has no such device.
            MissingExtra: If ``device`` is one of torch's and that is not installed.
        """
        k = self.ladder[-1] if k is None else k
        if (
            isinstance(k, bool)
            or not isinstance(k, int | np.integer)
            or not 1 <= k <= self.n_latents
        ):
            raise ConfigError(
                f"expected k from 1 to n_latents={self.n_latents}, got encode(k={k!r})"
            )
        if not (on_cpu(embeddings) if device is None else str(device).partition(":")[0] == "cpu"):
            from csrkit.model.torch_encode import encode

            return encode(self, embeddings, int(k), device)
        array = as_rows(embeddings, self.dim)
        blocks = top_of_product(unit_blocks(array), self.encoder, self._bias, int(k))
        return join_codes(blocks, self.n_latents)

    def encode_query(
        self, queries: ArrayLike, *, k: int | None = None, device: str | None = None
    ) -> SparseVectors:
        """Turn queries into the codes that find stored codes best.

        The latents are those of `encode`; their values are flattened::

            code = v / |v|  with  v = encode(queries, k) ** 0.8

        The values of a stored code weigh its latents by what they reconstruct. A query
        asks which documents share its latents, and a flatter query finds more of them
        for the same postings. Weights learned for the query side alone found fewer.

        Args:
            queries: As for `encode`.
            k: As for `encode`; may differ from the k of the stored codes.
            device: As for `encode`.

        Returns:
            One code per query, L2-normalised, with positive values. Only for searching:
            `decode` wants the codes of `encode`.

        Raises:
            ShapeError: If the shape is not (n, dim), or a row is zero or not finite.
            ConfigError: If k is out of range.
            MissingExtra: If ``device`` is given and torch is not installed.
        """
        codes = self.encode(queries, k=k, device=device)
        return replace(codes, values=codes.values**QUERY_POWER).normalized()

    def decode(self, codes: SparseVectors) -> Floats:
        """Turn codes back into estimates of the unit-norm embeddings.

        Args:
            codes: Codes of this model, of any length and any scale: they are
                normalised first.

        Returns:
            float32 (n, dim), ``b_pre + s_k (code W_dec)``; rank by cosine.

        Raises:
            ShapeError: If the codes are not n_latents wide.
        """
        return np.asarray(self.pre_bias + self._scaled(codes) @ self.decoder, dtype=np.float32)

    def _scaled(self, codes: SparseVectors) -> csr_array:
        """Return ``s_k code`` for each code, (n, n_latents)."""
        from scipy.sparse import csr_array

        check_width(codes, self.n_latents)
        unit = codes.normalized()
        scale = self.scales[np.minimum(unit.counts, len(self.scales) - 1)]
        values = unit.values * np.repeat(scale, unit.counts)
        return csr_array((values, unit.indices, unit.indptr), shape=(len(unit), unit.dim))

    # -- rescoring --------------------------------------------------------------

    def refit(self, embeddings: ArrayLike, codes: SparseVectors) -> SparseVectors:
        """Give codes the values that decode best: for rescoring by codes without residuals.

        The latents stay; their values become the non-negative least squares of the embedding
        on their decoder rows. Decoded codes rank better then, sparse scores slightly worse.

        Args:
            embeddings: Numbers of shape (n, dim); rows of any non-zero length.
            codes: Their codes by this model, at the k that is stored.

        Returns:
            n codes of norm 1. A latent whose best value is 0 is left out.

        Raises:
            ShapeError: As `encode_residuals`.
        """
        return refitting.refit(self, embeddings, codes)

    @property
    def residual_bytes(self) -> int:
        """Bytes of a row of `encode_residuals`: its bits, and two scales of 2 bytes."""
        return residual.row_bytes(self)

    def encode_residuals(self, embeddings: ArrayLike, codes: SparseVectors) -> NDArray[np.uint8]:
        """Keep in a few bits what the codes do not explain of their embeddings.

        The rows travel with the codes and sharpen `estimate_cosines`. Their size is set
        when the model is fitted, by ``FitConfig(residual_bits=...)``.

        Args:
            embeddings: Numbers of shape (n, dim); rows of any non-zero length.
            codes: Their codes by this model, at the k that is stored.

        Returns:
            uint8 (n, residual_bytes); the layout is that of `csrkit.model.residual`.

        Raises:
            ShapeError: If the embeddings are not (n, dim) finite, non-zero rows, or
                there is not one code of this model for each.
        """
        return residual.encode(self, embeddings, codes)

    def estimate_cosines(
        self,
        queries: ArrayLike,
        codes: SparseVectors,
        residuals: NDArray[np.uint8] | None = None,
    ) -> Floats:
        """Estimate the cosine of each dense query with the embedding behind each code.

        Args:
            queries: Numbers of shape (q, dim); rows of any non-zero length.
            codes: n codes of this model, of any length and any scale.
            residuals: Their rows of `encode_residuals`. Without them the estimate is the
                cosine with the decoded code.

        Returns:
            float32 (q, n), at most slightly outside of [-1, 1]; 0 for a code decoded to zero.

        Raises:
            ShapeError: If the queries are not (q, dim) finite, non-zero rows, the
                codes are of another model, or the residuals are not their rows.
        """
        return residual.estimate(self, queries, codes, residuals)

    # -- card and files -----------------------------------------------------------

    def with_card(self, card: Card | None) -> CSRModel:
        """Return this model with a card, by which a search chooses its setting.

        Args:
            card: What was measured of this model, else ConfigError; None to drop it.

        Returns:
            A model of the same fingerprint.
        """
        return replace(self, card=card)

    def save(self, path: str | Path) -> None:
        """Write the model to a folder of JSON and safetensors files.

        Args:
            path: Folder; made if needed. Files of a model saved there before
                are replaced, others are left alone.

        Raises:
            FormatError: If the path is an existing file.
        """
        from csrkit.model.files import save

        save(self, Path(path))

    def push_to_hub(self, repo_id: str, *, api: Any = None, private: bool = True) -> str:
        """Upload the model folder to the Hugging Face hub.

        Args:
            repo_id: "organisation/name".
            api: Any object with ``create_repo`` and ``upload_folder`` of
                ``huggingface_hub.HfApi``; by default a new ``HfApi()``.
            private: Whether a repository made by this call is private.

        Returns:
            The address of the commit, as the hub reports it.

        Raises:
            MissingExtra: If huggingface_hub is not installed.
        """
        from csrkit.model.files import push_to_hub

        return push_to_hub(self, repo_id, api=api, private=private)

    @classmethod
    def from_hub(cls, repo_id: str, *, revision: str | None = None, **options: Any) -> CSRModel:
        """Download a model folder from the Hugging Face hub and load it.

        Args:
            repo_id: "organisation/name".
            revision: Branch, tag or commit; pin a commit in production.
            **options: Passed to ``huggingface_hub.snapshot_download``, such as
                ``token``, ``cache_dir`` or ``local_files_only``.

        Returns:
            The model.

        Raises:
            MissingExtra: If huggingface_hub is not installed.
        """
        from csrkit.model.files import from_hub

        return from_hub(repo_id, revision=revision, **options)


def load(path: str | Path) -> CSRModel:
    """Load a model folder written by `CSRModel.save`; needs numpy only.

    Args:
        path: The folder.

    Returns:
        The same model: same fingerprint, same codes.

    Raises:
        FormatError: If the folder is missing, truncated, newer than this version
            reads, or holds unknown keys or arrays of the wrong shape.
    """
    from csrkit.model.files import load as load_folder

    return load_folder(Path(path))
