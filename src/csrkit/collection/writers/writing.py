"""`DualWriter`: new documents with their dense vector, code and payload in one upsert.

    writer = DualWriter.of("csrkit-jobs/docs.csr", target=client)
    writer.upsert([models.PointStruct(id=7, vector={"dense": row}, payload={...})])

For a service that goes on writing to a collection with codes. What is written past it, by
another client, has no code until `csrkit sweep` finds it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from csrkit.collection.facts import DenseVector, Marker
from csrkit.collection.homes.opening import open_home
from csrkit.collection.jobs.job import Job
from csrkit.collection.writers._vendors import Vendor, vendor_of
from csrkit.collection.writers.incoming import Incoming, Named, as_stored, checked_points
from csrkit.errors import ConfigError, JobError, StoreError
from csrkit.stores._ids import shown
from csrkit.stores._points import residual_name
from csrkit.stores._retry import Retry

if TYPE_CHECKING:
    from csrkit.model import CSRModel

__all__ = ["DualWriter"]


class _State(NamedTuple):
    """What the collection takes.

    Attributes:
        marker: Whose the codes are; None once they were rolled back.
        named: Its vectors.
    """

    marker: Marker | None
    named: Named


class DualWriter:
    """Writes points with their codes, and residuals if the job keeps them.

    It takes the vendor's own points and adds the codes of one of their vectors; payloads and
    other vectors pass through. The codes are those that a backfill would write: vectors of the
    distance Cosine are sent with norm 1, as the engine keeps them, and encoded as they are
    stored.

    Each call looks up whose the codes are now: those of another model are refused. Once the
    job is rolled back points are written without codes, with a warning, so that a rollback
    stops nobody from writing. Once the dense vector is dropped it is encoded and not sent.

    Args:
        target: A ``QdrantClient``, a URL, or a `Home`, as for `csrkit.compress`. On an Edge
            shard that this process has open: ``EdgeHome(folder, shard=shard)``.
        collection: Name of the collection, with a client.
        model: The model of the codes.
        name: Name of the sparse vector.
        batch_size: Points per request.
        retry: How patiently requests to a server are repeated while a failure may pass.

    Raises:
        ConfigError: If the target is none of these, or batch_size is below 1.
        JobError: If the collection has no codes of this name from csrkit, or those of another
            model.
        StoreError: If the collection cannot be opened.

    Examples:
        >>> DualWriter.of("jobs/docs.csr")  # where there is no job
        Traceback (most recent call last):
            ...
        csrkit.errors.JobError: no job in 'jobs/docs.csr': name its folder, by default ...
    """

    def __init__(
        self,
        target: Any,
        collection: str | None = None,
        *,
        model: CSRModel,
        name: str = "csr",
        batch_size: int = 256,
        retry: Retry | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"expected a batch_size of at least 1, got {batch_size!r}")
        self._model, self._name, self._size = model, name, batch_size
        self._home = open_home(target, collection)
        is_own = self._home is not target
        self._release: Callable[[], None] = self._home.close if is_own else lambda: None
        try:
            self._vendor: Vendor = vendor_of(self._home, retry or Retry())
            found = self._home.marker(name)
            if found is None:
                raise JobError(
                    f"{self._home.url} has no codes {name!r} of csrkit: add them with "
                    "`csrkit compress` first"
                )
            self._state = self._seen(found.vector)
        except BaseException:
            self.close()
            raise

    @classmethod
    def of(
        cls,
        job: Job | str | PathLike[str],
        *,
        target: Any = None,
        batch_size: int = 256,
        retry: Retry | None = None,
    ) -> Self:
        """Open the collection of a job for writing.

        Args:
            job: The job, whose home is then used and left open, or its folder. Of a job that
                copies, once it is cut over.
            target: A ``QdrantClient`` or `Home` of the same collection; by default the URL
                in the job's manifest is opened.
            batch_size: Points per request.
            retry: As for the class.

        Returns:
            The writer.

        Raises:
            ConfigError: If batch_size is below 1.
            JobError: If the folder holds no job, or the codes are not this job's, or not yet.
            StoreError: If the collection cannot be opened.
        """  # noqa: DOC502  # raised by helpers
        work = job if isinstance(job, Job) else Job.open(job, target=target, progress=False)
        try:
            manifest, home, model = work.manifest, work.home, work.model
            marker = home.marker(manifest.name)
            if manifest.copy_of is not None and not (marker and marker.is_live):
                raise JobError(
                    f"the job in {work.folder} fills a copy of {manifest.url} that is not live: "
                    "until the cutover write to the original as before, which the job follows"
                )
            name = manifest.name
            writer = cls(home, model=model, name=name, batch_size=batch_size, retry=retry)
        except BaseException:
            if work is not job:
                work.close()
            raise
        if work is not job:
            work.ledger.close()
            if target is None:
                writer._release = work._opened.close
        return writer

    # -- whose the codes are ------------------------------------------------------

    def _seen(self, source: str) -> _State:
        """Look at the collection, and refuse another model's codes."""
        marker, now = self._home.marker(self._name), self._home.describe()
        if self._name not in now.sparse:  # rolled back, or about to be
            marker = None
        if marker is not None and marker.fingerprint != self._model.fingerprint:
            raise JobError(
                f"the codes {self._name!r} of {self._home.url} are of the model "
                f"{marker.fingerprint[:12]}, got the model {self._model.fingerprint[:12]}: "
                "codes of two models must not mix, so open the model of that job"
            )
        source = marker.vector if marker else source
        own = frozenset((self._name, residual_name(self._name)))
        dense = {one.name: one for one in now.dense}
        return _State(marker, Named(source, self._model.dim, dense, frozenset(now.sparse), own))

    def _refresh(self) -> None:
        before, self._state = self._state, self._seen(self._state.named.source)
        if before.marker is not None and self._state.marker is None:
            warnings.warn(
                f"the codes {self._name!r} of {self._home.url} were rolled back: points are "
                "written without codes from now on",
                stacklevel=4,
            )

    # -- writing ------------------------------------------------------------------

    def coded(self, points: Iterable[Any]) -> list[Any]:
        """Return the points with their codes, to be sent by other means, such as asynchronously.

        Args:
            points: As for `upsert`.

        Returns:
            The vendor's points, new ones.

        Raises:
            ShapeError: As `upsert`.
            StoreError: As `upsert`, if a point is refused.
        """  # noqa: DOC502  # raised by helpers
        return self._points(checked_points(points, self._state.named), self._vendor.point)

    def upsert(self, points: Iterable[Any], *, wait: bool = True) -> None:
        """Insert or replace points, each with its code; all are checked before any is sent.

        As with the vendor's upsert a point is replaced whole: vectors and payload fields that
        it does not bring are gone.

        Args:
            points: ``models.PointStruct``, or ``qdrant_edge.Point``, each id once; their
                vector must have the one that the job encodes.
            wait: Whether to return only once a search finds them; a shard always does.

        Raises:
            JobError: If the codes are another model's by now.
            ShapeError: If a vector is missing, of another width, not finite, or zero.
            StoreError: If an id, payload or vector is refused, or the engine fails for good;
                the message says how many, in the order given, are stored.
        """  # noqa: DOC502  # raised by helpers
        self._write(points, self._vendor.point, self._vendor.upsert, wait)

    def update_vectors(self, points: Iterable[Any], *, wait: bool = True) -> None:
        """Replace vectors of points that exist, and their codes; payloads stay.

        Args:
            points: ``models.PointVectors``, or ``qdrant_edge.PointVectors``; otherwise as for
                `upsert`. Vectors that they do not bring stay.
            wait: As for `upsert`.

        Raises:
            JobError: If the codes are another model's by now.
            ShapeError: As `upsert`.
            StoreError: As `upsert`, or if a point does not exist; the others of its batch may
                have been written.
        """  # noqa: DOC502  # raised by helpers
        self._write(points, self._vendor.vectors, self._vendor.update_vectors, wait)

    def _write(
        self,
        points: Iterable[Any],
        spell: Callable[..., Any],
        send: Callable[[list[Any], str, bool], None],
        wait: bool,
    ) -> None:
        if self._home.marker(self._name) != self._state.marker:
            self._refresh()
        incoming = checked_points(points, self._state.named)
        for batch, doing in self._batches(incoming):
            try:
                send(self._points(batch, spell), doing, wait)
            except StoreError:
                before = self._state
                self._refresh()
                if self._state == before:
                    raise
                send(self._points(batch, spell), doing, wait)  # a vector was dropped meanwhile

    def _batches(self, incoming: Incoming) -> Iterator[tuple[Incoming, str]]:
        n = len(incoming.ids)
        for start in range(0, n, self._size):
            batch = incoming.part(start, start + self._size)
            yield batch, f"write {shown(batch.ids)}, after {start} of {n} were stored"

    def _points(self, batch: Incoming, spell: Callable[..., Any]) -> list[Any]:
        """Spell points as the vendor's, with all that the collection keeps of them."""
        marker, named = self._state
        dense = named.dense.get(named.source)
        vectors: list[dict[str, Any]] = [dict(one) for one in batch.others]
        if dense is not None:
            for vector, row in zip(vectors, batch.rows.tolist(), strict=True):
                vector[named.source] = row
        if marker is not None:
            self._encode_(vectors, batch, marker, dense)
        rows = zip(batch.ids, vectors, batch.payloads, strict=True)
        return [spell(*row) for row in rows]

    def _encode_(
        self,
        vectors: list[dict[str, Any]],
        batch: Incoming,
        marker: Marker,
        dense: DenseVector | None,
    ) -> None:
        rows = as_stored(batch.rows, dense)
        codes = self._model.encode(rows, k=marker.k)
        for vector, code in zip(vectors, self._vendor.sparse(codes), strict=True):
            vector[self._name] = code
        if marker.residual_bytes:
            residuals = self._model.encode_residuals(rows, codes).tolist()
            for vector, residual in zip(vectors, residuals, strict=True):
                vector[residual_name(self._name)] = residual

    # -- the end --------------------------------------------------------------------

    def close(self) -> None:
        """Close what was opened here; a client, shard, home or job that was passed in stays."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
