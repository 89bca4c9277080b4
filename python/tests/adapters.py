"""Adapters against the real packages of others, in an environment of their own. Slow: 1 GB of packages.

    tools/setup_python.sh adapters; PYTHONPATH=build/dev/python third_party/venv-adapters/bin/python -m pytest python/tests/adapters.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import lm_eval
import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document as IndexDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from lm_eval.tasks import TaskManager

import ravenwing.compat.lm_eval
from ravenwing.compat.langchain import RavenwingEmbeddings
from ravenwing.compat.llama_index import RavenwingEmbedding

TEXTS = ["The ship sailed over the sea.", "The cat slept by the fire.", "The king wore a crown."]
QUESTIONS = [
    {"text": "The king sat on his", "choices": ["throne", "banana", "throne of purple"], "label": 0},
    {"text": "The ship sailed over the", "choices": ["sea", "Wednesday"], "label": 0},
    {"text": "Once upon a", "choices": ["kettle", "time"], "label": 1},
]
CHOICE = """
task: stories_choice
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
metric_list: [{metric: acc}]
"""
ROLLING = """
task: stories_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
UNTIL = """
task: stories_until
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{choices[label]}}"
generation_kwargs: {until: ["."], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder of tasks on a file of questions."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "questions.json").write_text("\n".join(json.dumps(row) for row in QUESTIONS))
    for text in (CHOICE, ROLLING, UNTIL):
        name = text.split()[1]
        (folder / f"{name}.yaml").write_text(text.replace("FILE", str(folder / "questions.json")))
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    return folder


@pytest.fixture(scope="module")
def results(model, tasks):
    names = ["stories_choice", "stories_rolling", "stories_until"]
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    return lm_eval.simple_evaluate(
        "ravenwing", {"path": model}, tasks=names, task_manager=manager, log_samples=True, bootstrap_iters=0
    )


def ln_p(model, context, continuation):
    """By score(): of both together less that of the context."""
    whole = [0, *model.tokenize(context + continuation)]
    n_context = len(model.tokenize(context)) + 1
    (scores,) = model.score([whole])
    return scores[n_context - 1 :].sum()


def test_lm_eval_multiple_choice(model, results):
    samples = results["samples"]["stories_choice"]
    assert len(samples) == 3
    n_right = 0
    for sample in samples:
        row = sample["doc"]
        expected = [ln_p(model, row["text"], " " + choice) for choice in row["choices"]]
        assert [found[0][0] for found in sample["resps"]] == pytest.approx(expected, abs=1e-3)
        n_right += int(np.argmax(expected)) == row["label"]
    assert results["results"]["stories_choice"]["acc,none"] == pytest.approx(n_right / 3)
    assert n_right >= 2


def test_lm_eval_rolling(model, results):
    texts = [row["text"] for row in QUESTIONS]
    nats = -sum(scores.sum() for scores in model.score([[0, *model.tokenize(text)] for text in texts]))
    found = results["results"]["stories_rolling"]
    n_bytes, n_words = sum(len(text.encode()) for text in texts), sum(len(text.split()) for text in texts)
    assert found["bits_per_byte,none"] == pytest.approx(nats / np.log(2) / n_bytes, rel=1e-4)
    assert found["word_perplexity,none"] == pytest.approx(np.exp(nats / n_words), rel=1e-4)


def test_lm_eval_generation(model, results):
    for sample in results["samples"]["stories_until"]:
        ids = [0, *model.tokenize(sample["doc"]["text"])]
        greedy = model.generate(ids, max_tokens=12, temperature=0, presence_penalty=0, frequency_penalty=0, stop=".")
        assert sample["resps"][0][0] == greedy.text


def test_lm_eval_requests(model):
    """What a task of three questions does not meet: long continuations, greedy ones, a token over the border."""
    harness = ravenwing.compat.lm_eval.RavenwingLM(model)

    def ask(context, continuation):
        request = lm_eval.api.instance.Instance("loglikelihood", {}, (context, continuation), 0)
        return harness.loglikelihood([request], disable_tqdm=True)[0]

    greedy = model.generate([0, *model.tokenize("The king")], max_tokens=5, temperature=0, presence_penalty=0, frequency_penalty=0)
    assert ask("The king", greedy.text)[1] and not ask("The king", " banana")[1]
    long = " and the queen" * 60
    assert ask("The king", long)[0] == pytest.approx(ln_p(model, "The king", long), abs=1e-2)
    assert ask("", "The king")[0] == pytest.approx(ln_p(model, "", "The king"), abs=1e-3)
    separate = [0, *model.tokenize("The kin"), *model.tokenize("g")]
    assert ask("The kin", "g")[0] == pytest.approx(model.score([separate])[0][-1], abs=1e-3)
    messages = [{"role": "user", "content": "A story?"}]
    assert harness.apply_chat_template(messages) == "User: A story?\n\nAssistant:"
    begun = [*messages, {"role": "assistant", "content": "Once"}]
    assert harness.apply_chat_template(begun, add_generation_prompt=False) == "User: A story?\n\nAssistant: Once"


def test_lm_eval_command_line(model, tasks, tmp_path):
    command = [sys.executable, "-m", "ravenwing.compat.lm_eval", "run", "--model", "ravenwing"]
    command += ["--model_args", "exact=True,pipeline_cache=False", "--tasks", "stories_choice", "--include_path", str(tasks)]
    done = subprocess.run([*command, "--output_path", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.rglob("results_*.json")
    assert json.loads(file.read_text())["results"]["stories_choice"]["acc,none"] >= 0.6


def test_langchain(model):
    embeddings = RavenwingEmbeddings(model, pooling="mean")
    assert isinstance(embeddings, Embeddings)
    store = InMemoryVectorStore(embeddings)
    store.add_documents([Document(text) for text in TEXTS])
    expected = model.embed_batch(TEXTS, pooling="mean") @ model.embed(TEXTS[1], pooling="mean")
    found = store.similarity_search_with_score(TEXTS[1], k=3)
    assert found[0][0].page_content == TEXTS[1]
    assert sorted(score for _, score in found) == pytest.approx(sorted(expected), abs=1e-5)
    assert asyncio.run(embeddings.aembed_query(TEXTS[0])) == embeddings.embed_query(TEXTS[0])


def test_llama_index(model):
    embeddings = RavenwingEmbedding(model, embed_options={"pooling": "mean"})
    assert isinstance(embeddings, BaseEmbedding)
    assert embeddings.get_text_embedding_batch(TEXTS) == model.embed_batch(TEXTS, pooling="mean").tolist()
    assert asyncio.run(embeddings.aget_query_embedding(TEXTS[0])) == embeddings.get_query_embedding(TEXTS[0])
    index = VectorStoreIndex.from_documents([IndexDocument(text=text) for text in TEXTS], embed_model=embeddings)
    assert index.as_retriever(similarity_top_k=1).retrieve(TEXTS[2])[0].text == TEXTS[2]
    with pytest.raises(ValueError, match="embed_batch_size"):
        RavenwingEmbedding(model, embed_batch_size=0)
