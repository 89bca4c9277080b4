"""A random model of 0.6 MB, for what many texts or long ones do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from blocks import ROOT

VOCAB = ROOT / "tests/data/tiny_vocab.txt"
N_EMBD, N_VOCAB, RANK = 64, 8192, 8


def write_small_model(path: Path, n_layer: int = 1) -> None:
    """One head; RWKV-LM's names."""
    random = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(np.float16)

    vector = matrix(1, 1, N_EMBD)
    ones, zeros = np.ones(N_EMBD, np.float16), np.zeros(N_EMBD, np.float16)
    tensors = {"emb.weight": matrix(N_VOCAB, N_EMBD), "head.weight": matrix(N_VOCAB, N_EMBD)}
    tensors |= {"ln_out.weight": ones, "ln_out.bias": zeros, "blocks.0.ln0.weight": ones, "blocks.0.ln0.bias": zeros}
    for layer in range(n_layer):
        block = {f"{norm}.{part}": ones if part == "weight" else zeros for norm in ("ln1", "ln2", "att.ln_x") for part in ("weight", "bias")}
        block |= {f"att.x_{name}": vector for name in "rwkvag"} | {"att.k_k": vector, "att.k_a": vector, "att.r_k": matrix(1, N_EMBD)}
        block |= {f"att.{name}.weight": matrix(N_EMBD, N_EMBD) for name in ("receptance", "key", "value", "output")}
        block |= {f"ffn.{name}.weight": matrix(N_EMBD, N_EMBD) for name in ("key", "value")} | {"ffn.x_k": vector}
        for name in "wag" if layer == 0 else "wagv":
            block |= {f"att.{name}1": matrix(N_EMBD, RANK), f"att.{name}2": matrix(RANK, N_EMBD)}
            block |= {} if name == "g" else {f"att.{name}0": vector}
        tensors |= {f"blocks.{layer}.{name}": tensor for name, tensor in block.items()}
    save_file(tensors, path)
