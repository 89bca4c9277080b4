#!/usr/bin/env python3
"""Measures PyPI `rwkv` 0.8.32 (RWKV-7, PyTorch) at what tools/bench_python.py measures of this package.

    tools/peers/rwkv_package.py --shape 2.9b                                   random weights, strategy "cuda fp16"
    tools/peers/rwkv_package.py -m MODEL.safetensors --strategy "cpu fp32"     a small model, to try the script

It has no batch of texts and no embeddings: texts go one by one, and its head is replaced by the identity, so that forward() returns
what a head reads, the hidden vectors, and is spared the head's product. Results are read to the host as NumPy arrays.
Needs torch, numpy and rwkv; for CUDA its extension, which is compiled at the first import (nvcc, ninja).
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from measure import FIELDS, N_DOCUMENT, N_TEXT, Figures, ids_of  # noqa: E402

SHAPES = {  # n_layer, n_embd, n_ffn, ranks of w a v g
    "0.1b": (12, 768, 3072, 64, 64, 32, 128),
    "0.4b": (24, 1024, 4096, 64, 64, 32, 128),
    "1.5b": (24, 2048, 8192, 96, 96, 64, 256),
    "2.9b": (32, 2560, 10240, 96, 96, 64, 320),
}
N_VOCAB, HEAD_SIZE = 65536, 64


def random_weights(shape, device):
    """A checkpoint's tensors, drawn where they are used: matrices keep the size of what they multiply, vectors are as in trained models."""
    import torch

    n_layer, n_embd, n_ffn, *ranks = SHAPES[shape]
    draw = torch.Generator(device).manual_seed(1)

    def matrix(rows, columns, fan_in):
        return torch.randn(rows, columns, device=device, generator=draw, dtype=torch.half) / fan_in**0.5

    def vector(low, high, *size):
        return torch.rand(*size, device=device, generator=draw, dtype=torch.half) * (high - low) + low

    def norm(name):
        return {f"{name}.weight": vector(0.8, 1.2, n_embd), f"{name}.bias": vector(-0.05, 0.05, n_embd)}

    tensors = {"emb.weight": matrix(N_VOCAB, n_embd, n_embd), **norm("blocks.0.ln0"), **norm("ln_out")}
    for layer in range(n_layer):
        block, att, ffn = (f"blocks.{layer}{room}." for room in ("", ".att", ".ffn"))
        tensors |= {**norm(block + "ln1"), **norm(block + "ln2"), **norm(att + "ln_x")}
        tensors |= {att + "x_" + letter: vector(0, 1, 1, 1, n_embd) for letter in "rwkvag"}
        for letter, bounds in zip("wav", ((-6, -1), (-1, 1), (-1, 1))):
            tensors[att + letter + "0"] = vector(*bounds, 1, 1, n_embd)
        for letter, rank in zip("wavg", ranks):
            tensors[att + letter + "1"] = matrix(n_embd, rank, 4 * n_embd)
            tensors[att + letter + "2"] = matrix(rank, n_embd, 4 * rank)
        tensors |= {att + "k_k": vector(0.6, 1, 1, 1, n_embd), att + "k_a": vector(0.9, 1.1, 1, 1, n_embd)}
        tensors[att + "r_k"] = vector(-0.1, 0.1, n_embd // HEAD_SIZE, HEAD_SIZE)
        for name in ("receptance", "key", "value", "output"):
            tensors[f"{att}{name}.weight"] = matrix(n_embd, n_embd, n_embd)
        tensors[ffn + "x_k"] = vector(0, 1, 1, 1, n_embd)
        tensors[ffn + "key.weight"] = matrix(n_ffn, n_embd, n_embd)
        tensors[ffn + "value.weight"] = matrix(n_embd, n_ffn, n_ffn)
    return tensors


def load(args):
    """The package's model. It reads .pth files alone, so that torch.load stands in for the file."""
    device = args.strategy.split()[0]
    os.environ.update(RWKV_V7_ON="1", RWKV_JIT_ON="1", RWKV_CUDA_ON="1" if device == "cuda" else "0")  # read at import
    import torch
    from rwkv.model import RWKV

    if args.shape:
        tensors = random_weights(args.shape, device)
    else:
        from safetensors.torch import load_file

        tensors = load_file(args.model)
    tensors["head.weight"] = torch.eye(tensors["emb.weight"].shape[1])
    real, torch.load = torch.load, lambda *_, **__: tensors
    try:
        return RWKV(args.shape or os.path.basename(args.model), args.strategy)
    finally:
        torch.load = real


class Bench:
    def __init__(self, model, args):
        import torch

        self.torch, self.model, self.args = torch, model, args
        self.cuda = args.strategy.startswith("cuda")
        device = torch.cuda.get_device_name() if self.cuda else "CPU"
        facts = {"rwkv": "0.8.32", "torch": torch.__version__, "device": device, "model": args.shape or os.path.basename(args.model)}
        # TorchScript compiles in its second call too.
        self.figures = Figures({**facts, "strategy": args.strategy}, args.repeat, args.json, n_warm=3)
        n_vocab = model.args.vocab_size
        self.document = ids_of(N_DOCUMENT, 0, n_vocab)
        self.fields = [ids_of(n, n, n_vocab) for n in FIELDS]
        self.many = [ids_of(N_TEXT, 1000 + i, n_vocab) for i in range(args.singly)]

    def all(self):
        self.measure_document()
        for pooling in ("mean", "last"):
            n = {"n_texts": len(self.fields), "n_tokens": sum(FIELDS)}
            self.measure_vectors("fields", f"six texts of {FIELDS[0]} to {FIELDS[-1]} tokens", self.fields, pooling, **n)
        for pooling in ("mean", "last"):
            n = {"n_texts": len(self.many), "n_tokens": len(self.many) * N_TEXT}
            n |= {"repeat": max(self.args.repeat // 3, 1), "n_warm": 1}
            self.measure_vectors("many", f"{len(self.many)} texts of {N_TEXT} tokens", self.many, pooling, **n)

    def wait(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def measure_document(self):
        model, document, measure = self.model, self.document, self.figures.measure

        def to_numpy(state):
            return [part.cpu().numpy() for part in state]

        def feed():
            model.forward(document, None)
            self.wait()

        measure("feed", "the document fed; its state stays on the device", feed, n_tokens=N_DOCUMENT)
        measure(
            "state",
            f"state of the document, {N_DOCUMENT} tokens, on the host",
            lambda: to_numpy(model.forward(document, None)[1]),
            n_tokens=N_DOCUMENT,
        )
        state = model.forward(document, None)[1]
        arrays = to_numpy(state)
        megabytes = sum(array.nbytes for array in arrays) / 1e6
        measure("state_numpy", f"a state to NumPy arrays, {megabytes:.1f} MB", lambda: to_numpy(state))

        def there_and_back():
            to_numpy([self.torch.from_numpy(array).to(part.device) for array, part in zip(arrays, state)])

        measure("state_both", "NumPy arrays to the device, and to NumPy arrays again", there_and_back)

    def measure_vectors(self, name, what, texts, pooling, **more):
        def singly():
            for ids in texts:
                rows = self.model.forward(ids, None, full_output=pooling == "mean")[0]
                vector = rows.float().mean(0) if pooling == "mean" else rows.float()
                (vector / vector.norm()).cpu().numpy()

        self.figures.measure(f"{name}_{pooling}_singly", f"{what}, {pooling}, one by one", singly, **more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--shape", choices=SHAPES, help="random weights")
    which.add_argument("-m", "--model", help="a .safetensors file with RWKV-LM's names")
    parser.add_argument("--strategy", default="cuda fp16", help="the package's own (cuda fp16)")
    parser.add_argument("--singly", type=int, default=200, help="how many texts of 64 tokens (200)")
    parser.add_argument("--repeat", type=int, default=11, help="readings of each figure, a third of it of the long ones (11)")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    args = parser.parse_args()
    Bench(load(args), args).all()


if __name__ == "__main__":
    main()
