"""LlamaIndex's embeddings on Ravenwing: Settings.embed_model, or what an index is given as embed_model.

    from ravenwing.compat.llama_index import RavenwingEmbedding
    index = VectorStoreIndex.from_documents(documents, embed_model=RavenwingEmbedding("model.gguf"))
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from .._model import Model

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
except ImportError as error:
    raise ImportError(f"ravenwing.compat.llama_index needs LlamaIndex: pip install llama-index-core ({error})") from error


class RavenwingEmbedding(BaseEmbedding):
    """Vectors by a model, open or a path (None: the demo model).

    `embed_options` are those of Model.embed_batch(); `fields` are BaseEmbedding's: embed_batch_size, callback_manager, ...
    """

    _model: Model = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        *,
        embed_options: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        opened = model if isinstance(model, Model) else Model(model)
        super().__init__(**{"model_name": opened.info.name or "ravenwing", "embed_batch_size": 512, **fields})
        self._model = opened
        self._options = embed_options or {}

    @classmethod
    def class_name(cls) -> str:
        """For LlamaIndex's records."""
        return "RavenwingEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed_batch(texts, **self._options).tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)
