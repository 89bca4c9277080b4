"""EleutherAI's lm-evaluation-harness (PyPI `lm_eval`, 0.4.13) on Ravenwing.

    python -m ravenwing.compat.lm_eval --model ravenwing --model_args path=model.gguf --tasks lambada_openai

or, from Python, after importing this module:

    lm_eval.simple_evaluate("ravenwing", {"path": "model.gguf"}, tasks=["lambada_openai"])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _model
from .._session import Session

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(f"ravenwing.compat.lm_eval needs lm-evaluation-harness: pip install lm_eval ({error})") from error

_BLOCK = 64  # tokens whose logits are on the host at a time, n_vocab each; texts that are generated together
_N_TOKENS_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_Request = tuple[tuple[str, str], list[int], list[int]]


@register_model("ravenwing")
class RavenwingLM(TemplateLM):
    """A model for the harness: a path, or one that is open. `options` are those of ravenwing.Model.

    Every context begins with id 0, the end of the text before, as in training; add_bos_token=False leaves it out where a
    context is not empty. PyTorch's names of GPUs, of which the command line gives one where it is not told, mean the
    first; batch_size has no effect: texts that are generated share the GPU's steps, `max_sessions` of them.
    """

    def __init__(
        self,
        path: Any = None,
        *,
        add_bos_token: bool = True,
        max_gen_toks: int = 256,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: str | int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if device is not None and str(device).startswith(("cuda", "mps")):
            device = None
        self.model = path if isinstance(path, _model.Model) else _model.Model(path, device=device, **options)
        self.max_gen_toks = max_gen_toks
        self._lead = [0] if add_bos_token else []

    @property
    def eot_token_id(self) -> int:
        """The end of a text."""
        return 0

    @property
    def tokenizer_name(self) -> str:
        """Tells the harness's cache of requests what they were made for."""
        return f"ravenwing-{self.model.info.name}-{self.model.info.n_vocab}"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Token ids; there are no special ones."""
        return self.model.tokenize(string)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As the harness does, but where a token spans the border: there each is read by itself."""
        before, after = super()._encode_pair(context, continuation)
        if self.model.detokenize(before + after) != context + continuation:
            before, after = self.model.tokenize(context), self.model.tokenize(continuation)
        return self._lead + before, after

    def _loglikelihood_tokens(
        self, requests: Sequence[_Request], disable_tqdm: bool = False, **options: Any
    ) -> list[tuple[float, bool]]:
        """ln p of each continuation after its context, and whether it is what greedy decoding gives.

        A context that several requests have one after another, as those of a question do, is read once.
        """
        found = []
        progress = tqdm(total=len(requests), disable=disable_tqdm, desc="ravenwing: loglikelihood")
        with self.model.session() as session:
            for context, group in itertools.groupby(requests, key=lambda request: request[1]):
                session.reset()
                after_context = session.logits(context)
                for texts, _, continuation in group:
                    result = _score(session, after_context, continuation)
                    self.cache_hook.add_partial("loglikelihood", texts, result)
                    found.append(result)
                    progress.update()
        progress.close()
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """ln p of whole texts after id 0, however long: a state has no window."""
        found = []
        for request in tqdm(requests, disable=disable_tqdm, desc="ravenwing: loglikelihood_rolling"):
            (text,) = request.args
            (scores,) = self.model.score([[0, *self.model.tokenize(text)]])
            found.append(float(scores.sum()))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), found[-1])
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continues contexts up to the first of their stop strings; greedily, unless do_sample says otherwise."""
        found = []
        progress = tqdm(total=len(requests), disable=disable_tqdm, desc="ravenwing: generate_until")
        for group in _groups(requests, _BLOCK):
            texts = [self._lead + self.model.tokenize(request.args[0]) for request in group]
            options = [generation_options(request.args[1], self.max_gen_toks) for request in group]
            for request, completion in zip(group, self.model._generate_each(texts, options), strict=True):
                self.cache_hook.add_partial("generate_until", request.args, completion.text)
                found.append(completion.text)
            progress.update(len(group))
        progress.close()
        return found

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """ravenwing.chat_text(); without add_generation_prompt the last message is the beginning of the answer."""
        if add_generation_prompt:
            return _model.chat_text(chat_history)
        return f"{_model.chat_text(chat_history[:-1])} {chat_history[-1]['content']}"


def generation_options(harness: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """The harness's gen_kwargs as Model.generate() takes them. TypeError for a name that neither has."""
    options = dict(harness)
    until = options.pop("until", None) or []
    given = [options.pop(name) for name in _N_TOKENS_NAMES if name in options]
    sampled = options.pop("do_sample", float(options.get("temperature") or 0) > 0)
    if not sampled:
        options["temperature"] = 0.0
    return {
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **options,
        "stop": [text for text in ([until] if isinstance(until, str) else until) if text],
        "max_tokens": int(next((n for n in given if n is not None), max_tokens)),
    }


def _score(session: Session, after_context: NDArray[np.float32], continuation: Sequence[int]) -> tuple[float, bool]:
    """Of a continuation after what the session has read; the session stays there."""
    total, greedy, n = 0.0, True, 0
    for rows in _rows(session, after_context, continuation):
        ids = continuation[n : n + len(rows)]
        n += len(ids)
        wide = rows[: len(ids)].astype(np.float64)
        wide -= wide.max(axis=1, keepdims=True)
        chosen = wide[np.arange(len(ids)), ids]
        total += float((chosen - np.log(np.exp(wide).sum(axis=1))).sum())
        greedy = greedy and bool((chosen == 0).all())
    return total, greedy


def _rows(
    session: Session, after_context: NDArray[np.float32], continuation: Sequence[int]
) -> Iterator[NDArray[np.float32]]:
    """The logits that each token of a continuation is drawn from, some at a time."""
    yield after_context[np.newaxis]
    if len(continuation) > 1:
        with session.fork() as branch:
            for ids in _groups(continuation[:-1], _BLOCK):
                yield branch.logits(ids, each=True)


def _groups(items: Sequence[Any], n: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), n):
        yield items[first : first + n]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
