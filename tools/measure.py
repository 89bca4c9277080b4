"""What the tools that measure embeddings share: texts of a wanted number of tokens, timing, the table. Standard library alone."""

import json
import random
import statistics
import time

N_DOCUMENT = 212
FIELDS = (5, 12, 19, 26, 33, 40)  # tokens of the short texts
N_TEXT = 64  # tokens of each of many texts

WORDS = (
    "the of and to in a is that for it was on with as by at from his they be this have or had not are but what all when we "
    "there can an your which their said if do will each about how up out them then she many some so these would other into has "
    "more her two like him see time could no make than first been its who now people my made over did down only way find use "
    "may water long little very after words called just where most know raven harbour winter letter engine window mountain"
).split()


def ids_of(n, seed, n_vocab=65536):
    """Token ids that are no text, the same in every run."""
    draw = random.Random(seed)
    return [draw.randrange(1, n_vocab - 1) for _ in range(n)]


def text_of(tokenize, detokenize, n, seed):
    """A text of exactly n tokens: what begins a longer one is cut into the same tokens without its rest."""
    draw = random.Random(seed)
    text = " ".join(draw.choice(WORDS) for _ in range(2 * n))
    cut = detokenize(tokenize(text)[:n])
    assert len(tokenize(cut)) == n, f"a text of {len(tokenize(cut))} tokens where {n} were wanted"
    return cut


class Figures:
    """Readings of named calls: a Markdown table, a row as soon as it is known, and the same as JSON in a file."""

    def __init__(self, facts, repeat, path=None, n_warm=1):
        self.facts, self.repeat, self.path, self.n_warm, self.rows = facts, repeat, path, n_warm, []
        print("; ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
        print("| what | median | min | max | n | texts/s | tok/s |\n| --- | --- | --- | --- | --- | --- | --- |", flush=True)

    def measure(self, name, what, call, *, calls=1, n_texts=0, n_tokens=0, repeat=None, n_warm=None):
        """Times `call`, `calls` of them to a reading. With n_texts and n_tokens, those of one call, rates are told too."""
        readings = []
        n_warm = self.n_warm if n_warm is None else n_warm
        for i in range((repeat or self.repeat) + n_warm):
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            if i >= n_warm:  # the first ones make plans and compile
                readings.append((time.perf_counter() - begin) * 1e3 / calls)
        median = statistics.median(readings)
        row = {"name": name, "what": what, "n": len(readings), "median_ms": median, "min_ms": min(readings), "max_ms": max(readings)}
        if n_texts:
            row["texts_s"] = n_texts * 1e3 / median
        if n_tokens:
            row["tok_s"] = n_tokens * 1e3 / median
        self.tell(row)

    def tell(self, row):
        """Prints the row and writes the file anew: what was measured is kept if the program is ended."""
        self.rows.append(row)
        times = [duration(row[key]) for key in ("median_ms", "min_ms", "max_ms")]
        rates = [f"{row[rate]:,.0f}" if rate in row else "" for rate in ("texts_s", "tok_s")]
        print(f"| {' | '.join([row['what'], *times, str(row['n']), *rates])} |", flush=True)
        if self.path:
            with open(self.path, "w", encoding="utf-8") as file:
                json.dump({**self.facts, "figures": self.rows}, file, indent=1)


def duration(ms):
    return f"{ms * 1e3:.1f} us" if ms < 0.1 else f"{ms:.2f} ms" if ms < 100 else f"{ms:.0f} ms"
