"""The routes that copying a collection needs besides those of a job; see rest_shim."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from .rest_jobs import JOB_ROUTES
from .rest_routes import _COLLECTION, Refused, _parse

if TYPE_CHECKING:
    from .rest_shim import RestShim


def _collections(shim: RestShim, body: bytes) -> Any:
    names = [models.CollectionDescription(name=name) for name in shim.collections]
    return models.CollectionsResponse(collections=names)


def _drop(shim: RestShim, name: str, body: bytes) -> bool:
    if name not in shim.collections:
        return False
    shim.collections.pop(name).shard.close()
    shim.aliases = {alias: of for alias, of in shim.aliases.items() if of != name}
    return True


def _aliases(shim: RestShim, body: bytes) -> Any:
    return models.CollectionsAliasesResponse(
        aliases=[
            models.AliasDescription(alias_name=alias, collection_name=of)
            for alias, of in shim.aliases.items()
        ]
    )


def _move(shim: RestShim, body: bytes) -> bool:
    """All steps or none, as the server does."""
    aliases = dict(shim.aliases)
    for step in _parse(models.ChangeAliasesOperation, body).actions:
        if isinstance(step, models.DeleteAliasOperation):
            aliases.pop(step.delete_alias.alias_name)
        elif isinstance(step, models.CreateAliasOperation):
            alias, of = step.create_alias.alias_name, step.create_alias.collection_name
            if of not in shim.collections or alias in shim.collections:
                raise Refused(400, f"Wrong input: cannot lead {alias} to {of}")
            aliases[alias] = of
        else:
            raise Refused(400, f"the shim knows no {type(step).__name__}")
    shim.aliases = aliases
    return True


COPY_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    *JOB_ROUTES,
    ("GET", "/collections", _collections),
    ("DELETE", _COLLECTION, _drop),
    ("GET", "/aliases", _aliases),
    ("POST", "/collections/aliases", _move),
]
