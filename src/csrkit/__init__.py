"""csrkit: compress embeddings to adaptive-sparsity codes and search them in a vector database.

    model = csrkit.fit(embeddings)
    codes = model.encode(embeddings, k=32)

Names load on first use, so that ``import csrkit`` costs milliseconds and needs
neither torch nor a vector database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csrkit.collection import compress, plan
    from csrkit.errors import CsrkitError
    from csrkit.evaluation import evaluate
    from csrkit.fitting import fit
    from csrkit.model import CSRModel, load
    from csrkit.report import Report
    from csrkit.search import Searcher
    from csrkit.stores.base import Hit, Store
    from csrkit.training.config import FitConfig
    from csrkit.tuning import tune
    from csrkit.vectors import SparseVectors

__version__ = "0.1.0"

__all__ = [
    "CSRModel",
    "CsrkitError",
    "FitConfig",
    "Hit",
    "Report",
    "Searcher",
    "SparseVectors",
    "Store",
    "compress",
    "evaluate",
    "fit",
    "load",
    "plan",
    "tune",
]

_HOME = {
    "CSRModel": "csrkit.model",
    "CsrkitError": "csrkit.errors",
    "FitConfig": "csrkit.training.config",
    "Hit": "csrkit.stores.base",
    "Report": "csrkit.report",
    "Searcher": "csrkit.search",
    "SparseVectors": "csrkit.vectors",
    "Store": "csrkit.stores.base",
    "compress": "csrkit.collection",
    "evaluate": "csrkit.evaluation",
    "fit": "csrkit.fitting",
    "load": "csrkit.model",
    "plan": "csrkit.collection",
    "tune": "csrkit.tuning",
}

_MODULES = {
    "baselines",
    "collection",
    "errors",
    "joint",
    "llm",
    "metrics",
    "model",
    "report",
    "search",
    "sources",
    "stores",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # ``import csrkit; csrkit.stores.EdgeStore(...)``
        return import_module(f"csrkit.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'csrkit' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
