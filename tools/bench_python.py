#!/usr/bin/env python3
"""Measures the Python package: a document's state, vectors of few and of many texts, the cache, states as NumPy arrays.

    tools/bench_python.py --synthetic 2.9b:q4_k_m --json FILE       random weights; or -m MODEL

Needs the installed package, or PYTHONPATH=build/dev/python. Prints a Markdown table. Times are of whole Python calls, results on the
host as NumPy arrays, the cache of vectors passed by but where it is measured.
"""

import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from measure import FIELDS, N_DOCUMENT, N_TEXT, Figures, text_of  # noqa: E402

import ravenwing  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-m", "--model", help="a model file")
    which.add_argument("--synthetic", metavar="SHAPE:QUANT", help="random weights, 2.9b:q4_k_m for one")
    parser.add_argument("--texts", type=int, default=1000, help="how many there are of 64 tokens (1000)")
    parser.add_argument("--singly", type=int, default=100, help="how many of them one by one (100)")
    parser.add_argument("--sessions", type=int, default=33, help="Model(max_sessions=...) (33)")
    parser.add_argument("--repeat", type=int, default=11, help="readings of each figure, a third of it of the long ones (11)")
    parser.add_argument("--device", help="as Model(device=...)")
    parser.add_argument("--no-tuning", action="store_true", help="as Model(tuning=False)")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there too")
    return parser.parse_args()


class Bench:
    def __init__(self, model, args):
        self.model, self.args = model, args
        self.figures = Figures(
            {
                "ravenwing": ravenwing.__version__,
                "device": model.device.name,
                "tier": model.device.tier,
                "model": args.synthetic or os.path.basename(args.model),
                "max_sessions": args.sessions,
            },
            args.repeat,
            args.json,
        )
        self.document = self.text(N_DOCUMENT, 0)
        self.fields = [self.text(n, n) for n in FIELDS]
        self.many = [self.text(N_TEXT, 1000 + i) for i in range(args.texts)]

    def text(self, n, seed):
        return text_of(self.model.tokenize, self.model.detokenize, n, seed)

    def all(self):
        self.measure_document()
        self.measure_states()
        for pooling in ("mean", "last"):
            self.measure_fields(pooling)
        self.measure_cache()
        for pooling in ("mean", "last"):
            self.measure_many(pooling)

    def measure_document(self):
        model, document = self.model, self.document
        measure = self.figures.measure
        measure("tokenize", f"cutting the document into {N_DOCUMENT} tokens", lambda: model.tokenize(document), calls=100)
        measure("state", f"`model.state(document)`, {N_DOCUMENT} tokens, on the host", lambda: model.state(document), n_tokens=N_DOCUMENT)
        with model.session() as session:

            def feed():
                session.reset()
                session.feed(document)
                session.wait()

            def logits():
                session.reset()
                session.logits(document)

            measure("feed", "the document's state on the GPU", feed, n_tokens=N_DOCUMENT)
            measure("logits", "the same, and the logits after it as a NumPy array", logits, n_tokens=N_DOCUMENT)

    def measure_states(self):
        with self.model.session() as session:
            session.feed(self.document)
            arrays = session.state.numpy()
            megabytes = sum(array.nbytes for array in arrays.values()) / 1e6
            self.figures.measure("state_numpy", f"a state to NumPy arrays, {megabytes:.1f} MB", lambda: session.state.numpy())

            def there_and_back():
                session.restore(ravenwing.State.from_numpy(arrays))
                session.state.numpy()  # waits for the GPU

            self.figures.measure("state_both", "NumPy arrays into a session, and to NumPy arrays again", there_and_back)
            self.figures.measure(
                "from_numpy", "of which `State.from_numpy`, with its copy", lambda: ravenwing.State.from_numpy(arrays)
            )

    def measure_fields(self, pooling):
        model, fields, measure = self.model, self.fields, self.figures.measure
        n = {"n_texts": len(fields), "n_tokens": sum(FIELDS)}
        measure(
            f"fields_{pooling}",
            f"six texts of {FIELDS[0]} to {FIELDS[-1]} tokens, {pooling}, `embed_batch`",
            lambda: model.embed_batch(fields, pooling=pooling, cache=False),
            **n,
        )

        def singly():
            for text in fields:
                model.embed(text, pooling=pooling, cache=False)

        measure(f"fields_{pooling}_singly", f"the same, {pooling}, one by one", singly, **n)

    def measure_cache(self):
        text = self.many[0]
        self.model.embed(text)
        self.figures.measure("cached", "`model.embed` of a text in the cache", lambda: self.model.embed(text), calls=1000)

    def measure_many(self, pooling):
        model, many, some = self.model, self.many, self.many[: self.args.singly]
        repeat = max(self.args.repeat // 3, 1)
        self.figures.measure(
            f"many_{pooling}",
            f"{len(many)} texts of {N_TEXT} tokens, {pooling}, `embed_batch`",
            lambda: model.embed_batch(many, pooling=pooling, cache=False),
            n_texts=len(many),
            n_tokens=len(many) * N_TEXT,
            repeat=repeat,
        )

        def singly():
            for text in some:
                model.embed(text, pooling=pooling, cache=False)

        self.figures.measure(
            f"many_{pooling}_singly",
            f"{len(some)} of them, {pooling}, one by one",
            singly,
            n_texts=len(some),
            n_tokens=len(some) * N_TEXT,
            repeat=repeat,
        )


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        path = args.model
        if args.synthetic:
            path = os.path.join(folder, "synthetic.gguf")
            ravenwing.write_synthetic_model(args.synthetic, path)
        with ravenwing.Model(path, device=args.device, max_sessions=args.sessions, tuning=not args.no_tuning) as model:
            Bench(model, args).all()


if __name__ == "__main__":
    main()
