"""Six short texts about one document, as vectors: the document is read once, the fields share the GPU's steps.

    python field_analysis.py [MODEL]
"""

import sys
import time

import ravenwing

DOCUMENT = """Invoice 2024-117. Harbour Chandlers, 4 Quay Street. Sold to Captain Anna Reed of the schooner Petrel: two coils
of manila rope, one barrel of tar, six blocks, and a ship's lantern. Delivered on the ninth of May. To be paid within thirty
days in gold or notes. The rope was inspected and found sound.
"""
FIELDS = {
    "seller": "Sold by: Harbour Chandlers",
    "buyer": "Sold to: Captain Anna Reed",
    "ship": "Name of the ship: Petrel",
    "goods": "Goods: rope, tar, blocks and a lantern",
    "date": "Delivered on: the ninth of May",
    "terms": "To be paid: within thirty days",
}

model = ravenwing.Model(sys.argv[1] if len(sys.argv) > 1 else None)
texts = list(FIELDS.values())

begin = time.perf_counter()
prefix = model.prefix(DOCUMENT)
print(f"document: {prefix.n_tokens} tokens in {(time.perf_counter() - begin) * 1e3:.1f} ms")
model.embed_batch(texts, prefix=prefix)  # the first time prepares the kernels

begin = time.perf_counter()
vectors = model.embed_batch(texts, prefix=prefix)
print(f"{len(texts)} fields: {(time.perf_counter() - begin) * 1e3:.1f} ms\n")

# How alike the fields are, after this document: cosines, as the vectors have length 1.
print(" " * 8 + "".join(f"{name:>8}" for name in FIELDS))
for name, row in zip(FIELDS, vectors @ vectors.T):
    print(f"{name:<8}" + "".join(f"{cosine:8.2f}" for cosine in row))

# How well each field fits the document: ln p a token of the field after it, less that of the field alone.
print()
for name, text in FIELDS.items():
    with model.session(prefix=prefix) as session, model.session() as alone:
        after, without = session.score(text).mean(), alone.score(text).mean()
        print(f"{name:<8}{after - without:+.2f} nats a token: {text}")
model.close()
