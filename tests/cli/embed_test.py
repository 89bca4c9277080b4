#!/usr/bin/env python3
"""ravenwing embed on the demo model."""
import json
import math
import os
import tempfile
import unittest

from program import ProgramTest, needs_adapter, read_npy

N_EMBD, HEAD_SIZE = 512, 64
TEXTS = ["The king", "", "Once upon a time there was a girl", "The queen \u2603"]


def cosine(a, b):
    return math.sumprod(a, b) / math.sqrt(math.sumprod(a, a) * math.sumprod(b, b)) if hasattr(math, "sumprod") else \
        sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@needs_adapter
class EmbedTest(ProgramTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name, lines=None):
        path = os.path.join(self.folder.name, name)
        if lines is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
        return path

    def lines(self, *args, **kwargs):
        return [json.loads(line) for line in self.run_program("embed", *args, **kwargs)[0].splitlines()]

    def test_lines_of_json_and_numpy_files_have_the_same_vectors(self):
        lines = [json.dumps(TEXTS[0]), json.dumps({"id": "b", "text": TEXTS[1]}), "", json.dumps({"text": TEXTS[2], "more": 1}),
                 json.dumps(TEXTS[3], ensure_ascii=False)]
        texts = self.path("texts.jsonl", lines)
        found = self.lines("--exact", "-f", texts)
        self.assertEqual([row["index"] for row in found], [0, 1, 2, 3])
        self.assertEqual([row.get("id") for row in found], [None, "b", None, None])
        for row in found:
            self.assertEqual(len(row["embedding"]), N_EMBD)
            self.assertAlmostEqual(cosine(row["embedding"], row["embedding"]), 1)
            self.assertAlmostEqual(sum(x * x for x in row["embedding"]), 1, places=5)
        out = self.path("vectors.npy")
        self.assertEqual(self.run_program("embed", "--exact", "-f", texts, "--out", out)[0], b"")
        shape, values = read_npy(out)
        self.assertEqual(shape, (4, N_EMBD))
        for i, row in enumerate(found):
            self.assertEqual(list(values[i * N_EMBD:(i + 1) * N_EMBD]), [float(x) for x in self.as_float32(row["embedding"])])
        out = self.path("vectors.jsonl")
        with open(texts, "rb") as file:
            self.run_program("embed", "--exact", "-f", "-", "--out", out, stdin=file.read())
        with open(out, encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file], found)
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["texts.jsonl", "vectors.jsonl", "vectors.npy"])
        # One text, and the same as a plain line.
        self.assertEqual(self.lines("--exact", "-p", TEXTS[2])[0]["embedding"], found[2]["embedding"])
        plain = self.path("plain.txt", TEXTS)
        self.assertEqual([row["embedding"] for row in self.lines("--exact", "--plain", "-f", plain)], [row["embedding"] for row in found])

    @staticmethod
    def as_float32(values):
        import array
        return array.array("f", values)

    def test_pooling_layer_prefix_and_length(self):
        last = self.lines("-p", "The king and the queen")[0]["embedding"]
        mean = self.lines("-p", "The king and the queen", "--pooling", "mean", "--raw")[0]["embedding"]
        self.assertGreater(abs(sum(x * x for x in mean) - 1), 0.01)
        self.assertLess(cosine(last, mean), 0.99)
        self.assertEqual(len(self.lines("-p", "The king", "--pooling", "state")[0]["embedding"]), N_EMBD * HEAD_SIZE)
        self.assertLess(cosine(last, self.lines("-p", "The king and the queen", "--layer", "2")[0]["embedding"]), 0.99)
        after = self.lines("-p", " and the queen", "--prefix", "The king")[0]["embedding"]
        self.assertGreater(cosine(last, after), 0.999)

    def test_a_run_that_was_ended_goes_on(self):
        texts = [json.dumps("a") for _ in range(514)]
        bad = texts[:513] + ["{]"] + texts[513:]
        for name in ("v.npy", "v.jsonl"):
            path = self.path("texts.jsonl", bad)
            out = self.path(name)
            self.expect_error("embed", "-f", path, "--out", out, status=1, words=["texts.jsonl", "line 514", "JSON"])
            self.assertFalse(os.path.exists(out))
            self.assertTrue(os.path.exists(out + ".part"))
            # A last row or line that is not whole.
            with open(out + ".part", "r+b") as file:
                file.truncate(os.path.getsize(out + ".part") - 3)
            self.expect_error("embed", "-f", path, "--out", out, "--resume", "--layer", "1", status=2, words=["other settings", "v."])
            self.path("texts.jsonl", texts)
            stderr = self.run_program("embed", "-f", path, "--out", out, "--resume")[1]
            self.assertIn("511 vectors were there already", stderr)
            self.assertFalse(os.path.exists(out + ".part") or os.path.exists(out + ".part.json"))
            if name == "v.npy":
                shape, values = read_npy(out)
                rows = [list(values[i * N_EMBD:(i + 1) * N_EMBD]) for i in range(514)]
                self.assertEqual(shape, (514, N_EMBD))
            else:
                with open(out, encoding="utf-8") as file:
                    found = [json.loads(line) for line in file]
                self.assertEqual([row["index"] for row in found], list(range(514)))
                rows = [row["embedding"] for row in found]
            self.assertTrue(all(cosine(rows[0], row) > 0.999 for row in rows[1::50] + rows[-3:]))

    def test_bad_input(self):
        self.expect_error("embed", status=2, words=["-p", "-f"])
        self.expect_error("embed", "-p", "a", "--resume", status=2, words=["--out"])
        self.expect_error("embed", "-p", "a", "--layer", "6", status=2, words=["layer is 6", "-6 to 5"])
        self.expect_error("embed", "-f", self.path("none.jsonl"), status=1, words=["none.jsonl"])
        self.expect_error("embed", "-f", self.path("x.jsonl", ["{\"txt\": 1}"]), status=1, words=["x.jsonl", "line 1", "no text", "--field"])
        self.expect_error("embed", "-p", "a", "--out", self.folder.name, status=1, words=["no regular file"])
        with open(self.path("y.jsonl"), "wb") as file:
            file.write(b"\"\xff\"\n")
        self.expect_error("embed", "-f", self.path("y.jsonl"), status=1, words=["line 1", "UTF-8"])


if __name__ == "__main__":
    unittest.main()
