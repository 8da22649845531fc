"""What every baseline is: a `Method` that builds, and the `Index` es that answer.

All take float32 rows of norm 1, so that the inner product is the cosine, and
answer with row numbers. Nothing here measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from csrkit.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from csrkit.report.types import Family

__all__ = [
    "ID_BYTES",
    "Floats",
    "Footprint",
    "Index",
    "Method",
    "RowNumbers",
    "Subset",
    "Way",
    "engine",
]

Floats: TypeAlias = "NDArray[np.float32]"
RowNumbers: TypeAlias = "NDArray[np.int64]"

ID_BYTES = 8  # an int64 per vector, in whatever keeps vectors by id


class Footprint(NamedTuple):
    """What an index must keep to answer.

    Attributes:
        per_vector: Bytes per vector, all in: code, id, postings, graph, originals.
        retained: The part of them that only rescoring reads.
        code: The part of them that is the vector's own code.
        shared: Bytes kept once, whatever the number of vectors: codebooks,
            rotations, models.
    """

    per_vector: float
    retained: float
    code: float
    shared: float


class Subset(NamedTuple):
    """A random part of the documents, as a filter would pick it.

    Attributes:
        share: Of the documents that are in it, such as 0.01.
        mask: bool (n,), which ones.
    """

    share: float
    mask: NDArray[np.bool_]

    @property
    def rows(self) -> RowNumbers:
        """Their row numbers, int64, rising."""
        return np.flatnonzero(self.mask)


class Index(Protocol):
    """A collection that answers queries."""

    @property
    def footprint(self) -> Footprint:
        """What it keeps."""
        ...

    def search(self, queries: Floats, n: int, *, among: Subset | None = None) -> RowNumbers:
        """Find the best documents.

        Args:
            queries: float32 (q, dim), of norm 1.
            n: Documents per query, at least 1.
            among: Search only these; all if None.

        Returns:
            int64 (q, n), rows of the documents by falling score; -1 where none is left.
        """
        ...


@dataclass(frozen=True)
class Way:
    """An index, asked in one way; one build may offer several.

    Attributes:
        name: Of the curve it belongs to.
        family: See `csrkit.report.Row`.
        setting: The rest, in words.
        index: What answers.
        k: Latents of a query's code; None for what is no CSR.
        posting_cost: Postings visited per query and document; None for what has none.
        deeper_is_better: True if a search for 100 works harder than one for 10,
            so that its first 10 must not be taken for those of the latter.
        resident: Bytes of memory per vector; None where it was not measured.
    """

    name: str
    family: Family
    setting: str
    index: Index
    k: int | None = None
    posting_cost: float | None = None
    deeper_is_better: bool = False
    resident: float | None = None


class Method(Protocol):
    """A way to keep vectors, ready to be built."""

    def build(self, docs: Floats, *, seed: int) -> list[Way]:
        """Train, encode and store.

        Args:
            docs: float32 (n, dim), of norm 1; row numbers are the ids.
            seed: Of what is drawn.

        Returns:
            The ways to ask what was built, at least one.
        """
        ...


def engine() -> Any:
    """Import faiss, whose stubs know neither its Python constructors nor its vectors, as untyped.

    Returns:
        The module.

    Raises:
        MissingExtra: If it is not installed.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            # its wrapper generator trips over Python 3.12, harmlessly
            warnings.filterwarnings("ignore", "builtin type .* has no __module__ attribute")
            import faiss
    except ImportError as error:
        raise MissingExtra("faiss-cpu", "report", "a baseline") from error
    return faiss
