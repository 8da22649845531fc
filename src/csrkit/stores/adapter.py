"""The parts of an adapter: what a store of your own is made of, beside its vendor's client.

Checks that refuse a whole call before anything is sent, ids as short keys, and rows put
back together; csrkit's own stores use them. A store that passes
`csrkit.stores.testing.StoreContract` looks like this::

    class MyStore:
        def upsert(self, ids, codes, payloads=None):
            checked = checked_upsert(ids, codes, payloads, self._held)  # None before the first
            for batch, doing in checked.batches(1000):
                ...  # raise StoreError(f"cannot {doing}: ...") where the vendor fails

        def search(self, codes, *, limit=10, filter=None):
            checked_limit(limit)
            checked_dim(codes, self._held and self._held.dim)
            ...  # Hit(id, score, payload), none with score 0

        def fetch(self, ids):
            plain = checked_ids(ids)
            rows = all_found(plain, self._read(plain))  # names the ids that are not there
            return stacked([row.indices for row in rows], [row.values for row in rows], dim)

No base class is needed: a store is whatever has the methods of `csrkit.stores.Store`. One that
notes its codec, or keeps residuals, may derive from `Holder`, which has ``dim``,
``residual_bytes``, ``codec`` and ``bind`` over what the store puts into ``_known``.
"""

from csrkit.stores._checks import (
    Held,
    Upsert,
    checked_codec,
    checked_dim,
    checked_held,
    checked_limit,
    checked_upsert,
    kept_residuals,
)
from csrkit.stores._holder import Holder
from csrkit.stores._ids import all_found, checked_ids, shown, uuid_of
from csrkit.stores._points import stacked

__all__ = [
    "Held",
    "Holder",
    "Upsert",
    "all_found",
    "checked_codec",
    "checked_dim",
    "checked_held",
    "checked_ids",
    "checked_limit",
    "checked_upsert",
    "kept_residuals",
    "shown",
    "stacked",
    "uuid_of",
]
