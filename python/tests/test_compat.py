"""The interfaces of other packages."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import inspect
import json

import numpy as np
import pytest

import ravenwing
from ravenwing.compat.rwkv.model import RWKV
from ravenwing.compat.rwkv.utils import PIPELINE, PIPELINE_ARGS

# Parameters and defaults in PyPI rwkv 0.8.32.
RWKV_SIGNATURES = {
    RWKV.forward: {"tokens": ..., "state": ..., "full_output": False},
    PIPELINE.refine_context: {"context": ...},
    PIPELINE.encode: {"x": ...},
    PIPELINE.decode: {"x": ...},
    PIPELINE.sample_logits: {"logits": ..., "temperature": 1.0, "top_p": 0.85, "top_k": 0},
    PIPELINE_ARGS.__init__: {
        "temperature": 1.0,
        "top_p": 0.85,
        "top_k": 0,
        "alpha_frequency": 0.2,
        "alpha_presence": 0.2,
        "alpha_decay": 0.996,
        "token_ban": (),
        "token_stop": (),
        "chunk_len": 256,
    },
}


@pytest.fixture(scope="module")
def rwkv(model):
    """`model` is asked for first: where there is no adapter, all is skipped."""
    opened = RWKV(None, "cuda fp16", max_sessions=2, exact=True, pipeline_cache=False)
    yield opened
    opened.model.close()


def test_signatures():
    for function, expected in RWKV_SIGNATURES.items():
        parameters = list(inspect.signature(function).parameters.values())[1:]
        found = {p.name: ... if p.default is p.empty else p.default for p in parameters}
        assert found == expected, function
    assert list(inspect.signature(RWKV).parameters)[:4] == ["model", "strategy", "verbose", "convert_and_save_and_exit"]
    generate = list(inspect.signature(PIPELINE.generate).parameters)
    assert generate == ["self", "ctx", "token_count", "args", "callback", "state"]


def test_rwkv_forward(rwkv, model):
    ids = model.tokenize("The king and the queen went to the market")
    expected = model.logits(ids, each=True)
    whole, _ = rwkv.forward(ids, None, full_output=True)
    assert np.array_equal(whole, expected)
    # In two calls, with another text in between; a copy goes its own way.
    first, state = rwkv.forward(ids[:3], None)
    assert np.array_equal(first, expected[2])
    branch = copy.deepcopy(state)
    rwkv.forward(model.tokenize("Something else"), None)
    last, same = rwkv.forward(ids[3:], state)
    assert same is state
    assert np.array_equal(last, expected[-1])
    again, _ = rwkv.forward(ids[3:], branch)
    assert np.array_equal(again, expected[-1])
    assert state.numpy().n_tokens == len(ids)
    with pytest.raises(ValueError, match="another RWKV"):
        RWKV.forward(_Other(rwkv), ids, state)
    with pytest.raises(ValueError, match="nothing to convert"):
        RWKV(None, "cuda fp16", convert_and_save_and_exit="x")


class _Other(RWKV):
    def __init__(self, like):
        self.model, self._lock, self._session, self._in_use = like.model, like._lock, None, None


def test_rwkv_pipeline(rwkv, model):
    pipeline = PIPELINE(rwkv, "rwkv_vocab_v20230424")
    assert pipeline.decode(pipeline.encode("The king")) == "The king"
    assert pipeline.refine_context("  a \n\n b ") == "\na\nb"
    greedy = PIPELINE_ARGS(temperature=0, alpha_frequency=0, alpha_presence=0)
    pieces = []
    text = pipeline.generate("The king", token_count=8, args=greedy, callback=pieces.append)
    assert text == "".join(pieces)
    expected = model.generate("The king", max_tokens=8, temperature=0, presence_penalty=0, frequency_penalty=0, stop_tokens=[])
    assert text == expected.text
    banned = PIPELINE_ARGS(temperature=0, alpha_frequency=0, alpha_presence=0, token_ban=[expected.ids[0]])
    assert not pipeline.generate("The king", token_count=8, args=banned).startswith(model.detokenize(expected.ids[:1]))
    stopped = PIPELINE_ARGS(temperature=0, alpha_frequency=0, alpha_presence=0, token_stop=[expected.ids[3]])
    assert pipeline.generate("The king", token_count=8, args=stopped) == model.detokenize(expected.ids[:3])
    _, state = rwkv.forward(model.tokenize("The"), None)
    assert pipeline.generate(" king", token_count=8, args=greedy, state=state) == expected.text


def test_rwkv_sample_logits(rwkv):
    pipeline = PIPELINE(rwkv)
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    assert pipeline.sample_logits(logits, temperature=0) == 0
    drawn = np.bincount([pipeline.sample_logits(logits, top_p=1) for _ in range(4000)], minlength=4) / 4000
    assert np.allclose(drawn, [0.5, 0.3, 0.15, 0.05], atol=0.04)
    drawn = np.bincount([pipeline.sample_logits(logits, top_p=0.7) for _ in range(2000)], minlength=4) / 2000
    assert np.allclose(drawn, [0.625, 0.375, 0, 0], atol=0.05)
    assert {pipeline.sample_logits(logits, top_p=1, top_k=1) for _ in range(20)} == {0}


def test_vllm(model):
    llm = ravenwing.LLM.__new__(ravenwing.LLM)
    llm.model, llm._ids = model, iter(range(100))  # the model that is open already
    params = ravenwing.SamplingParams(temperature=0, max_tokens=6, logprobs=2)
    found = llm.generate(["The king", "Once upon a time"], params)
    for prompt, output in zip(["The king", "Once upon a time"], found, strict=True):
        expected = model.generate(prompt, max_tokens=6, temperature=0, presence_penalty=0, frequency_penalty=0)
        (one,) = output.outputs
        assert (output.prompt, output.prompt_token_ids, output.finished) == (prompt, model.tokenize(prompt), True)
        assert (one.index, one.text, one.token_ids, one.finish_reason) == (0, expected.text, expected.ids, "length")
        assert [max(row, key=row.get) for row in one.logprobs] == expected.ids
        assert one.cumulative_logprob == pytest.approx(sum(max(row.values()) for row in one.logprobs))
    assert found[0].request_id != found[1].request_id
    three = llm.generate("The king", ravenwing.SamplingParams(n=3, max_tokens=5, seed=7, temperature=1.5))[0].outputs
    assert [one.index for one in three] == [0, 1, 2]
    assert len({one.text for one in three}) > 1
    again = llm.generate("The king", ravenwing.SamplingParams(n=3, max_tokens=5, seed=7, temperature=1.5))[0].outputs
    assert [one.text for one in again] == [one.text for one in three]
    answer = llm.chat([{"role": "user", "content": "Hello"}], ravenwing.SamplingParams(max_tokens=3, temperature=0))
    assert len(answer[0].outputs[0].token_ids) <= 3
    assert np.array_equal(llm.embed(["The king"])[0], model.embed("The king"))
    with pytest.raises(ValueError, match="2 sampling_params for 1 prompts"):
        llm.generate(["a"], [params, params])


def test_web_rwkv(model):
    from ravenwing import _ravenwing
    from ravenwing.compat import web_rwkv as wrp

    # Signatures in PyPI web-rwkv-py 0.2.3.
    assert list(inspect.signature(wrp.Model).parameters)[:3] == ["path", "quant", "quant_nf4"]
    for function in (wrp.Model.run, wrp.Model.run_full):
        parameters = inspect.signature(function).parameters
        assert list(parameters) == ["self", "tokens", "token_chunk_size"]
        assert parameters["token_chunk_size"].default == 128
    other = wrp.Model(_ravenwing.demo_model_path(), max_sessions=1, exact=True, pipeline_cache=False)
    ids = model.tokenize("The king and the queen")
    expected = model.logits(ids, each=True)
    other.run(ids[:2])
    state, on_gpu = other.back_state(), other.back_state(wrp.StateDevice.Gpu)
    assert (state.device(), on_gpu.device()) == (wrp.StateDevice.Cpu, wrp.StateDevice.Gpu)
    assert on_gpu.to(wrp.StateDevice.Cpu).device() == wrp.StateDevice.Cpu
    assert np.array_equal(np.float32(other.run(ids[2:])), expected[-1])
    other.load_state(state.deep_clone())
    n_vocab = other.info().n_vocab
    assert np.array_equal(np.float32(other.run_full(ids[2:])).reshape(-1, n_vocab), expected[2:])
    for begin in (other.clear_state, lambda: other.load_state(other.init_state())):
        begin()
        assert np.array_equal(np.float32(other.run(ids)), expected[-1])
    with pytest.raises(ValueError, match="no tokens"):
        other.run([])
    other.model.close()


def test_web_rwkv_tokenizer(tmp_path):
    from ravenwing.compat import web_rwkv as wrp

    vocab = {str(i + 1): [i] for i in range(256)} | {"257": "The", "258": " king", "259": "\u2603"}
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(vocab))
    tokenizer = wrp.Tokenizer(path)
    ids = tokenizer.encode("The king's \u2603")
    assert ids == [257, 258, ord("'") + 1, ord("s") + 1, ord(" ") + 1, 259]
    assert bytes(tokenizer.decode(ids)).decode() == "The king's \u2603"


def test_langchain_without_langchain(model):
    """What a vector store calls; python/tests/adapters.py has the real one."""
    from ravenwing.compat.langchain import RavenwingEmbeddings

    embeddings = RavenwingEmbeddings(model, pooling="mean")
    texts = ["The king", "The queen"]
    assert embeddings.embed_documents(texts) == model.embed_batch(texts, pooling="mean").tolist()
    assert asyncio.run(embeddings.aembed_documents(texts)) == embeddings.embed_documents(texts)
    assert asyncio.run(embeddings.aembed_query("The king")) == embeddings.embed_query("The king")


@pytest.mark.parametrize(("adapter", "package"), [("lm_eval", "lm_eval"), ("llama_index", "llama-index-core")])
def test_adapters_say_what_they_need(adapter, package):
    if importlib.util.find_spec(adapter):
        pytest.skip(f"{adapter} is installed")
    with pytest.raises(ImportError, match=f"pip install {package}"):
        importlib.import_module(f"ravenwing.compat.{adapter}")
