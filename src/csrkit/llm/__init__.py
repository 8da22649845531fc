"""Sparse and dense retrievers out of decoder-only language models (arXiv 2502.15526).

    from csrkit import llm

    retriever = llm.fit("path/of/a/llama", triples)     # any AutoModelForCausalLM
    codes = retriever.encode(texts)                     # SparseVectors over the vocabulary
    vectors = retriever.encode_dense(texts)             # with LLMConfig(head="both")

A causal model is made bidirectional, adapted to it by masked next-token prediction, and
trained by contrast, distillation, or both. It is not a serving engine: batches are encoded by
plain transformers, one process at a time. Needs the extra ``llm``; names load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from csrkit.errors import MissingExtra

if TYPE_CHECKING:
    from csrkit.llm.backbone import Backbone, load_backbone
    from csrkit.llm.config import LLMConfig
    from csrkit.llm.data import Triple, read_corpus, read_triples
    from csrkit.llm.files import load
    from csrkit.llm.fitting import adapt, fit
    from csrkit.llm.retriever import LLMRetriever

__all__ = [
    "Backbone",
    "LLMConfig",
    "LLMRetriever",
    "Triple",
    "adapt",
    "fit",
    "load",
    "load_backbone",
    "read_corpus",
    "read_triples",
]

_HOME = {
    "Backbone": "csrkit.llm.backbone",
    "LLMConfig": "csrkit.llm.config",
    "LLMRetriever": "csrkit.llm.retriever",
    "Triple": "csrkit.llm.data",
    "adapt": "csrkit.llm.fitting",
    "fit": "csrkit.llm.fitting",
    "load": "csrkit.llm.files",
    "load_backbone": "csrkit.llm.backbone",
    "read_corpus": "csrkit.llm.data",
    "read_triples": "csrkit.llm.data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'csrkit.llm' has no attribute {name!r}")
    try:
        module = import_module(_HOME[name])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "csrkit"):
            raise
        raise MissingExtra(missing, "llm", f"csrkit.llm.{name}") from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
