"""The state of a document: read once, kept in a file, gone on from as often as there are questions.

    python document_state.py [MODEL]
"""

import sys
import time
from pathlib import Path

import ravenwing

DOCUMENT = """The lighthouse stood on a rock a mile from the shore. Old Peter had kept it for thirty years, and his
granddaughter Nell had lived with him since she was a baby. Every evening they climbed the hundred and twelve steps
together and lit the great lamp. One night in November the wind rose to a storm, and a ship was driven toward the reef.
"""
QUESTIONS = ["Nell cried,", "The captain of the ship", "In the morning"]

model = ravenwing.Model(sys.argv[1] if len(sys.argv) > 1 else None)

begin = time.perf_counter()
state = model.state(DOCUMENT)
print(f"{state!r}, {state.nbytes / 1e6:.1f} MB, read in {(time.perf_counter() - begin) * 1e3:.0f} ms")

# The arrays are views of the library's memory: NumPy can look into a state without a copy.
for layer, wkv in enumerate(state.wkv):
    print(f"layer {layer}: the wkv state's norm is {(wkv**2).sum() ** 0.5:.1f}")

# Another program, on another day, goes on from the file.
path = Path("document.safetensors")
state.save(path)
state = ravenwing.State.load(path)

# All continuations share the GPU's steps, and none of them reads the document again.
for question, answer in zip(QUESTIONS, model.generate(QUESTIONS, prefix=state, max_tokens=24, temperature=0.7, seed=1)):
    print(f"\n{question}{answer.text}")

# How far two texts have moved the state apart: 0 for the same text.
print()
others = {
    "the same document": DOCUMENT,
    "one with a calm for the storm": DOCUMENT.replace("storm", "calm"),
    "another document": "The king and the queen gave a great feast.",
}
for name, text in others.items():
    print(f"distance to the state of {name}: {state.distance(model.state(text)):.3f}")
model.close()
