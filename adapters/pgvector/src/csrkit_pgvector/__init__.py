"""csrkit's codes in PostgreSQL with pgvector 0.7 or later.

    store = PgVectorStore(connection, "docs")     a table of codes, made if it is missing
    store = open_store("pg://host/database/docs")  the same by URL
    job = compress("pg://host/database/articles", vector="embedding")   codes beside vectors

It never installs the extension: ``create extension vector`` is for whoever runs the server.
"""

from csrkit_pgvector.home import PgHome
from csrkit_pgvector.names import Names
from csrkit_pgvector.store import PgVectorStore

__all__ = ["Names", "PgHome", "PgVectorStore"]
