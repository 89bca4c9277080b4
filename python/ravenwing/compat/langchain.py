"""LangChain's embeddings on Ravenwing: what a vector store is given.

    from ravenwing.compat.langchain import RavenwingEmbeddings
    store = InMemoryVectorStore(RavenwingEmbeddings("model.gguf"))

Where langchain-core is installed the class is an `Embeddings` of it; it works without.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from .. import _model

if TYPE_CHECKING:
    _Embeddings = object
else:
    try:
        from langchain_core.embeddings import Embeddings as _Embeddings
    except ImportError:
        _Embeddings = object


class RavenwingEmbeddings(_Embeddings):
    """Vectors by a model, open or a path (None: the demo model); `options` are those of Model.embed_batch()."""

    def __init__(self, model: _model.Model | str | os.PathLike[str] | None = None, **options: Any) -> None:
        self.model = model if isinstance(model, _model.Model) else _model.Model(model)
        self.options = options

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text; the texts share the GPU's steps."""
        return self.model.embed_batch(texts, **self.options).tolist()

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text, which is the one that it has as a document."""
        return self.model.embed(text, **self.options).tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """embed_documents() for asyncio."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """embed_query() for asyncio."""
        return await asyncio.to_thread(self.embed_query, text)
