#!/usr/bin/env python3
"""Makes tests/data/embeddings: what PyPI rwkv computes for the pooled embeddings of a text, in fp32, and their AUCs.

    tools/embedding_reference.py MODEL.safetensors tests/data/golden tests/data/embeddings

MODEL is the F16 file of the trained tiny model (`shared/models/tiny`). Needs numpy, safetensors, torch and rwkv; made with Python
3.11, numpy 2.4.6, safetensors 0.8.0, torch 2.4.1, rwkv 0.8.32. None of these is needed by tests, which read the files alone.

The 4 096 ids of validation.ids.json are 32 passages of 128 ids, each in two halves of 64, every half read from the zero state.
A pair is the first half of a passage and the second half of one; it is positive where the passage is the same. The score is the
cosine of the two vectors; the AUC is the share of (positive, negative) pairs in which the positive has the higher score.
"""

import json
import os
import sys
import tempfile

import numpy as np

HALF = 64  # ids in half a passage
CLOSING = [257, 1002]  # "\n\n", "The" of vocab.txt
LOGITS_TOLERANCE = 1e-3  # fp32 sums in another order differ by some 1e-5


def load_model(path):
    """RWKV_x070 of PyPI rwkv whose head is the identity, so that forward returns what a head reads, and the head itself.

    The package reads .pth files alone. A loaded model cannot be given another head: it is a TorchScript module, and a change of its
    dictionary `z` is made to a copy and lost.
    """
    os.environ.update(RWKV_V7_ON="1", RWKV_CUDA_ON="0")  # read at import
    import torch
    from rwkv.model import RWKV
    from safetensors.torch import load_file

    tensors = load_file(path)
    head = tensors["head.weight"].float().numpy()
    tensors["head.weight"] = torch.eye(head.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "model")
        torch.save(tensors, name + ".pth")
        return RWKV(model=name, strategy="cpu fp32"), head


def check_logits(model, head, golden):
    with open(os.path.join(golden, "prompts.json"), encoding="utf-8") as file:
        prompts = json.load(file)
    for prompt in prompts:
        path = os.path.join(golden, prompt["name"] + ".logits.npy")
        if os.path.exists(path):
            hidden = model.forward(prompt["ids"], None)[0].numpy()
            error = np.abs(head @ hidden - np.load(path)).max()
            print(f"{prompt['name']}: logits differ by at most {error:.1e}")
            if not error < LOGITS_TOLERANCE:
                sys.exit(f"{path}: logits differ by {error}, at most {LOGITS_TOLERANCE}. Is MODEL the F16 file of the tiny model?")


def embeddings_of(model, ids):
    """mean: the hidden states' mean; last: the last one's after the closing; state: the last layer's wkv, rows of length one."""
    hidden, state = model.forward(ids, None, full_output=True)
    wkv = state[3 * (model.args.n_layer - 1) + 1].numpy()  # [n_head, value channel, key channel]
    rows = wkv / np.maximum(np.linalg.norm(wkv, axis=-1, keepdims=True), 1e-12)
    return {"mean": hidden.numpy().mean(0), "last": model.forward(ids + CLOSING, None)[0].numpy(), "state": rows.flatten()}


def normalised(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def auc_of(vectors):
    """vectors: [2 * passage + half, channel], of length one."""
    scores = vectors[0::2].astype(np.float64) @ vectors[1::2].astype(np.float64).T
    positive = np.diag(scores)
    negative = scores[~np.eye(len(scores), dtype=bool)]
    wins = positive[:, None] > negative
    ties = positive[:, None] == negative
    return float(np.mean(wins + 0.5 * ties))


def main(model_path, golden, output):
    model, head = load_model(model_path)
    check_logits(model, head, golden)
    with open(os.path.join(golden, "validation.ids.json"), encoding="utf-8") as file:
        ids = json.load(file)
    halves = [ids[i:i + HALF] for i in range(0, len(ids), HALF)]
    rows = [embeddings_of(model, half) for half in halves]
    vectors = {pooling: normalised(np.stack([row[pooling] for row in rows])) for pooling in rows[0]}

    os.makedirs(output, exist_ok=True)
    for pooling, kept in (("mean", len(halves)), ("last", len(halves)), ("state", 2)):
        np.save(os.path.join(output, pooling + ".npy"), vectors[pooling][:kept].astype(np.float32))
    with open(os.path.join(output, "halves.json"), "w", encoding="utf-8") as file:
        file.write("[" + ",\n ".join(json.dumps(half) for half in halves) + "]\n")
    figures = {"passages": len(halves) // 2, "half_ids": HALF, "closing_ids": CLOSING,
               "auc": {pooling: round(auc_of(vectors[pooling]), 6) for pooling in vectors}}
    with open(os.path.join(output, "reference.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: embedding_reference.py MODEL.safetensors GOLDEN_FOLDER OUTPUT_FOLDER")
    main(*sys.argv[1:])
