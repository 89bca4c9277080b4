"""Model: text, ids, generation, measures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import ravenwing
from ravenwing._errors import of_code

from conftest import BEGINNING


def test_info_and_device(model):
    info = model.info
    assert info.n_layer == 6 and info.n_embd == 512
    assert info.n_head * info.head_size == info.n_embd
    assert info.quantisation == "Q4_K"
    assert Path(info.path).name == "tiny-rwkv7-Q4_K_M.gguf"
    assert model.device.name and model.device.tier in ("T0", "T1", "T2")
    assert model.memory()["weights"] > 1e6


def test_synthetic_model(tmp_path):
    ravenwing.write_synthetic_model("0.1b:q4_k_m", tmp_path / "made.gguf")
    info = ravenwing.inspect(tmp_path / "made.gguf")
    assert (info.n_layer, info.n_embd, info.quantisation) == (12, 768, "Q4_K")
    with pytest.raises(ValueError, match="0.1b"):
        ravenwing.write_synthetic_model("9b:q4_k_m", tmp_path / "other.gguf")
    with pytest.raises(ravenwing.BadFileError, match="nowhere"):
        ravenwing.write_synthetic_model("0.1b:q4_k_m", tmp_path / "nowhere" / "made.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]


def test_tokenize_and_back(model):
    for text in ("", "The raven said: ‘никогда’ 🐦", "a\0b"):
        assert model.detokenize(model.tokenize(text)) == text
    invalid = b"\xff\xfe caf\xe9 \xf0\x9f"
    assert model.detokenize_bytes(model.tokenize(invalid)) == invalid
    assert "\ufffd" in model.detokenize(model.tokenize(invalid))
    with pytest.raises(TypeError, match="str or bytes"):
        model.tokenize(3)
    with pytest.raises(UnicodeEncodeError):
        model.tokenize("\ud800")
    with pytest.raises(ValueError, match="id"):
        model.detokenize([70_000])
    with pytest.raises(ValueError, match="-1 is no token id"):
        model.detokenize([-1])
    with pytest.raises(TypeError, match="token ids"):
        model.detokenize([1.5])


def test_generate_takes_text_bytes_and_ids(model):
    completion = model.generate(BEGINNING, max_tokens=4, seed=3)
    assert len(completion.ids) == 4 and completion.finish_reason == "length"
    assert completion.bytes == model.detokenize_bytes(completion.ids)
    assert str(completion) == completion.text
    ids = model.tokenize(BEGINNING)
    for prompt in (BEGINNING.encode(), ids, np.asarray(ids)):
        assert model.generate(prompt, max_tokens=4, seed=3).ids == completion.ids
    assert model.generate(b"\xff\xff", max_tokens=1).ids
    assert model.generate("", max_tokens=1).ids


def test_list_of_prompts_in_groups(model):
    prompts = [BEGINNING, "The cat", "A dog", "The end"]
    together = model.generate(prompts, max_tokens=3, seed=1)
    assert [c.ids for c in together] == [model.generate(p, max_tokens=3, seed=1).ids for p in prompts]
    assert model.generate([]) == []
    with model.session(), model.session():
        assert [c.ids for c in model.generate(prompts[:2], max_tokens=3, seed=1)] == [c.ids for c in together[:2]]
    with model.session(), model.session(), model.session(), pytest.raises(ravenwing.BadRequestError, match="in use"):
        model.generate(prompts, max_tokens=3)


def test_stream_gives_the_same_text(model):
    completion = model.generate(BEGINNING, max_tokens=5, seed=3)
    with model.generate(BEGINNING, max_tokens=5, seed=3, stream=True) as stream:
        pieces = list(stream)
    assert "".join(pieces) == completion.text and len(pieces) > 1
    assert stream.completion.ids == completion.ids
    with pytest.raises(ValueError, match="one prompt"):
        model.generate([BEGINNING], stream=True)


def test_stream_that_nobody_reads_to_its_end(model):
    stream = model.generate(BEGINNING, max_tokens=100_000, stop_tokens=[], stream=True)
    assert next(stream)
    stream.close()
    assert stream.completion.finish_reason == "cancelled"
    dropped = model.generate(BEGINNING, max_tokens=100_000, stop_tokens=[], stream=True)
    next(dropped)
    del dropped
    assert model.generate(BEGINNING, max_tokens=1).ids


def test_stops_and_logprobs(model):
    free = model.generate(BEGINNING, max_tokens=6, temperature=0, logprobs=2)
    assert [row.token.id for row in free.logprobs] == free.ids
    row = free.logprobs[0]
    assert row.top[0].id == row.token.id and row.top[0].logprob >= row.top[1].logprob
    expected = model.logits(BEGINNING).astype(np.float64)
    expected -= np.log(np.exp(expected - expected.max()).sum()) + expected.max()
    assert row.token.logprob == pytest.approx(expected[row.token.id], abs=1e-3)
    word = model.detokenize([free.ids[2]])
    stopped = model.generate(BEGINNING, max_tokens=6, temperature=0, stop=word)
    assert stopped.finish_reason == "stop" and stopped.text == free.text[: free.text.index(word)]
    assert model.generate(BEGINNING, max_tokens=6, temperature=0, stop_tokens=[free.ids[1]]).ids == free.ids[:1]


def test_defaults_and_every_field_reaches_the_sampler(model):
    assert model.generate(BEGINNING, max_tokens=3).ids == model.generate(BEGINNING, max_tokens=3, seed=0, top_p=0.85).ids
    banned = model.generate(BEGINNING, max_tokens=1, temperature=0).ids[0]
    for sampling in ({"logit_bias": {banned: -100}}, {"logit_bias": {5: 100.0}, "order": "llama"}):
        assert model.generate(BEGINNING, max_tokens=1, temperature=0, **sampling).ids[0] != banned


@pytest.mark.parametrize(
    ("sampling", "error", "message"),
    [
        ({"temperature": "hot"}, TypeError, "temperature is 'hot', must be float"),
        ({"temperature": -1.0}, ValueError, "temperature is -1"),
        ({"temperature": math.nan}, ValueError, "temperature is nan"),
        ({"top_p": 0.0}, ValueError, "top_p is 0"),
        ({"top_k": -1}, ValueError, "top_k is -1, must be at least 0"),
        ({"top_k": 1.5}, TypeError, "top_k is 1.5"),
        ({"max_tokens": -1}, ValueError, "max_tokens is -1"),
        ({"max_tokens": "3"}, TypeError, "max_tokens is '3'"),
        ({"order": "best"}, ValueError, "order is 'best'"),
        ({"logprobs": 21}, ValueError, "logprobs is 21"),
        ({"stop_tokens": list(range(17))}, ValueError, "at most 16"),
        ({"logit_bias": {"a": 1.0}}, TypeError, "logit_bias"),
        ({"temprature": 1.0}, TypeError, "no argument 'temprature'"),
    ],
)
def test_wrong_sampling(model, sampling, error, message):
    with pytest.raises(error, match=message):
        model.generate(BEGINNING, **{"max_tokens": 1, **sampling})


def test_wrong_prompts(model):
    for prompt in (3, None, [1.5], [True], object()):
        with pytest.raises(TypeError, match="str, bytes or a sequence of token ids"):
            model.generate(prompt, max_tokens=1)
    with pytest.raises(ravenwing.BadRequestError, match="token 0 is id 70000"):
        model.generate([70_000], max_tokens=1)
    with pytest.raises(ValueError, match="no token id"):
        model.generate([1, 1 << 40], max_tokens=1)


def test_chat(model):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello\n\nUser: no"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "A story?"},
    ]
    text = "System: Be brief.\n\nUser: Hello\nUser: no\n\nAssistant: Hi.\n\nUser: A story?\n\nAssistant:"
    assert ravenwing.chat_text(messages) == text
    assert ravenwing.chat_text(messages, think="fake").endswith("Assistant: <think>\n</think")
    answer = model.chat(messages[-1:], max_tokens=4, temperature=0)
    assert answer.ids == model.generate("User: A story?\n\nAssistant:", max_tokens=4, temperature=0).ids
    assert "".join(model.chat(messages[-1:], max_tokens=4, temperature=0, stream=True)) == answer.text
    for wrong in ([], messages[:3], messages[1:2] * 2, [{"role": "user"}], [{"role": "king", "content": ""}], ["hello"]):
        with pytest.raises(ValueError, match="message"):
            model.chat(wrong)
    with pytest.raises(ValueError, match="template"):
        model.chat(messages, template="chatml")


def test_logits_score_perplexity(model):
    ids = model.tokenize(BEGINNING)
    rows = model.logits(ids, each=True)
    assert rows.shape == (len(ids), model.info.n_vocab) and rows.dtype == np.float32
    assert np.array_equal(model.logits(BEGINNING), rows[-1])
    wide = rows[:-1].astype(np.float64)
    logs = wide - wide.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    scores = model.score([BEGINNING, "", "a"])
    assert scores[0] == pytest.approx(logs[np.arange(len(ids) - 1), ids[1:]], abs=1e-4)
    assert len(scores[1]) == 0 and len(scores[2]) == 0
    assert model.perplexity(BEGINNING) == pytest.approx(math.exp(-scores[0].mean()))
    with pytest.raises(ValueError, match="less than 2 tokens"):
        model.perplexity("a")
    with pytest.raises(ravenwing.BadRequestError, match="no tokens"):
        model.logits("")
    with pytest.raises(TypeError, match="list of texts"):
        model.score("a text")


def test_prefix(model):
    prefix = model.prefix("The raven said: ")
    assert prefix.n_tokens == len(model.tokenize("The raven said: "))
    whole = model.tokenize("The raven said: ") + model.tokenize("never")
    expected = model.generate(whole, max_tokens=3, seed=1)
    both = model.generate(["never", "always"], max_tokens=3, seed=1, prefix=prefix)
    assert both[0].ids == expected.ids and len(both) == 2
    assert both[1].ids == model.generate("always", max_tokens=3, seed=1, prefix=prefix).ids
    with model.session(prefix=prefix) as session:
        assert session.generate("never", max_tokens=3, seed=1).ids == expected.ids
    with pytest.raises(TypeError, match="prefix is a str"):
        model.generate("x", prefix="The raven")


def test_profile_needs_its_option(model):
    with pytest.raises(ravenwing.BadRequestError, match="profiling"):
        model.profile()


def test_errors_of_opening(tmp_path):
    with pytest.raises(ravenwing.BadFileError, match="no-such-file") as caught:
        ravenwing.Model("no-such-file.gguf")
    assert caught.value.code == "bad_file" and isinstance(caught.value, RuntimeError)
    damaged = tmp_path / "damaged\udcff.gguf"
    damaged.write_bytes(b"GGUF" + b"\xff" * 100)
    with pytest.raises(ravenwing.Error):
        ravenwing.Model(damaged)
    with pytest.raises(ravenwing.NoDeviceError, match="no-such-device"):
        ravenwing.Model(device="no-such-device")
    for options in ({"max_sessions": 0}, {"max_sessions": -1}, {"chunk": 1 << 20}, {"states": "f8"}, {"load": "fast"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            ravenwing.Model(**options)
    with pytest.raises(TypeError, match="chunk"):
        ravenwing.Model(chunk=1.5)


def test_every_code_has_its_class():
    codes = ("bad_file", "unsupported", "bad_request", "no_device", "out_of_memory", "device_lost", "cancelled", "closed")
    for code in codes:
        error = of_code(code, "what")
        assert type(error) is not ravenwing.Error and error.code == code and str(error) == "what"
    assert isinstance(of_code("out_of_memory", ""), MemoryError) and isinstance(of_code("bad_request", ""), ValueError)


def test_close():
    with ravenwing.Model(max_sessions=2, pipeline_cache=False) as model:
        session = model.session()
        state = session.state
        stream = model.generate("a", max_tokens=100_000, stop_tokens=[], stream=True)
        next(stream)
    assert model.closed and model.info.n_layer == 6
    model.close()
    for use in (
        lambda: model.generate("a"),
        lambda: model.session(),
        lambda: session.feed("a"),
        lambda: session.state,
        lambda: model.memory(),
    ):
        with pytest.raises(ravenwing.Error) as caught:
            use()
        assert caught.value.code == "closed"
    assert stream.completion.finish_reason == "cancelled"
    session.close()
    assert state.wkv.shape[0] == 6 and model.tokenize("a")
