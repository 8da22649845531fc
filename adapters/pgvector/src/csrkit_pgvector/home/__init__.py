"""A table with a column of dense vectors, as a job that compresses it in place sees it.

`PgHome` is the face. Behind it `Session` has the table and its connection, and functions of a
session have one thought each: `facts` what is there, `listing` ids, `pages` rows, `columns` what
a job adds, marks and drops, `scans` exact searches.
"""

from csrkit_pgvector.home.face import PgHome, open_home

__all__ = ["PgHome", "open_home"]
