"""What a job alters of a table: columns it adds, marks as its own, and drops.

They are empty at first, which changes no row; filling them writes each row anew, as every
update of PostgreSQL does, so the table grows until vacuum has freed the old rows. Triggers
of the table run at each update, as they do for anybody's.
"""

from __future__ import annotations

from psycopg import sql
from pydantic import ValidationError

from csrkit.collection.home import CodeVector, Marker
from csrkit.errors import StoreError
from csrkit.stores.adapter import Held
from csrkit_pgvector import schema
from csrkit_pgvector.home.session import Session
from csrkit_pgvector.notes import Note

__all__ = ["add", "drop", "drop_dense", "mark", "marker", "unmark"]


def add(session: Session, codes: CodeVector) -> None:
    """Add columns of codes and residuals, unless they are there; see `Home.add`.

    Args:
        session: The table.
        codes: What they are to hold.
    """
    with session.altering(f"add {codes.name!r}"):
        own = session.named(codes.name)
        schema.add_columns(own, Held(codes.n_latents, codes.residual_bytes))


def drop(session: Session, codes: CodeVector) -> None:
    """Drop columns of codes and residuals, if they are there; see `Home.drop`.

    Args:
        session: The table.
        codes: What they hold.
    """
    text = "alter table {table} drop column if exists {code}"
    if codes.residual_bytes:
        text += ", drop column if exists {residual}"
    with session.altering(f"drop {codes.name!r}"):
        session.named(codes.name).run(text)


def drop_dense(session: Session, vector: str) -> None:
    """Drop a column of dense vectors, with its indexes; see `Home.drop_dense`.

    Args:
        session: The table.
        vector: Name of the column; one that is not there is refused.
    """
    session.source(vector)
    text = "alter table {table} drop column {vector}"
    with session.altering(f"drop {vector!r}") as table:
        table.run(table.composed(text, vector=sql.Identifier(vector)))


def marker(session: Session, name: str) -> Marker | None:
    """Return who added codes; see `Home.marker`.

    Args:
        session: The table.
        name: Name of their column.

    Returns:
        The marker; None if the column carries none, or is not there.

    Raises:
        StoreError: If there is one that cannot be read.
    """
    with session.calling("read a marker"):
        column = session.named(name).columns.get(name)
    note = Note.of(column.comment) if column else None
    try:
        return Marker.model_validate(note.job) if note and note.job else None
    except ValidationError as error:
        raise StoreError(
            f"{session.url}: the marker of {name!r} cannot be read: {error}"
        ) from error


def mark(session: Session, marker: Marker) -> None:
    """Add columns with a marker, or replace their marker; see `Home.mark`.

    Both at once: a column without a marker would be taken for somebody else's.

    Args:
        session: The table.
        marker: The marker.

    Raises:
        StoreError: If there is a column of residuals without codes, which is somebody else's.
    """
    held = Held(marker.n_latents, marker.residual_bytes, marker.fingerprint)
    with session.altering(f"mark {marker.name!r}"):
        own = session.named(marker.name)
        if own.names.residual in own.columns and own.names.code not in own.columns:
            raise StoreError(
                f"table {own.names.table!r} has a column {own.names.residual!r} that is not "
                "csrkit's: choose another name= for the codes"
            )
        schema.add_columns(own, held)
        schema.comment(own, held, marker.model_dump())


def unmark(session: Session, name: str) -> None:
    """Remove a marker, if there is one; see `Home.unmark`.

    Args:
        session: The table.
        name: Name of the column of codes.
    """
    with session.calling(f"unmark {name!r}", atomic=True):
        own = session.named(name)
        if name in own.columns:
            own.run("comment on column {table}.{code} is null")
