#!/usr/bin/env python3
"""ravenwing bench, bench sweep, bench submits and bench formats on the demo model: that each figure is there and makes sense."""
import os
import re
import tempfile
import unittest

from program import DEMO_MODEL, ProgramTest, needs_adapter

N_LAYER, HEAD_SIZE, N_EMBD, N_VOCAB = 6, 64, 512, 8192


class Figures(ProgramTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def check_readings(self, readings):
        self.assertEqual(list(readings), ["median", "min", "max"])
        self.assertTrue(0 < readings["min"] <= readings["median"] <= readings["max"], readings)


@needs_adapter
class BenchTest(Figures):
    FLAGS = ("bench", "--prompt-tokens", "20", "-n", "8", "--repeat", "2", "--batch", "2")

    def check_json(self, result):
        self.assertEqual([result[key] for key in ("prompt_tokens", "tokens", "batch", "repeat", "chunk")], [20, 8, 2, 2, 512])
        for key in ("prefill_tok_s", "decode_tok_s", "batch_decode_tok_s", "load_warm_ms", "time_to_first_token_ms"):
            self.check_readings(result[key])
        # The prompt is read when the first token comes.
        self.assertAlmostEqual(result["time_to_first_token_ms"]["min"] * result["prefill_tok_s"]["max"] / 1000, 20, places=3)
        self.assertLess(result["time_to_first_token_ms"]["min"], result["first_token_ms"])
        self.assertTrue(0 < result["token_ms"]["p50"] <= result["token_ms"]["p99"])
        # Of all gaps between tokens the slowest is at least as long as the mean of the slowest run.
        self.assertGreaterEqual(result["token_ms"]["p99"] * 1.001, 1000 / result["decode_tok_s"]["min"])
        for key in ("load_ms", "load_cold_ms", "device_ms", "gpu_step_us"):
            self.assertGreater(result[key], 0, key)
        busy = result["gpu_step_us"] * result["decode_tok_s"]["median"] / 1e6
        self.assertAlmostEqual(result["gpu_busy"], busy, places=6)
        # Software: the "GPU" is a CPU that others use too, between the two measurements more or less. A wrong unit is further off.
        self.assertTrue(0.02 < busy < 50, busy)
        self.check_steps(result)
        # After a warm-up nothing is made.
        self.assertEqual(result["hit_rates"], {"plans": 1, "pipelines": 1, "bind_groups": 1})
        self.assertEqual(result["buffers_made"], 0)
        self.assertEqual(result["pipeline_cache"]["damaged"], 0)
        gpu = result["gpu_bytes"]
        self.assertGreater(gpu["weights"], 0.9 * os.path.getsize(DEMO_MODEL))
        self.assertGreaterEqual(gpu["state"], 2 * N_LAYER * N_EMBD * HEAD_SIZE * 4)
        self.assertGreater(gpu["peak"], gpu["weights"] + gpu["state"] + gpu["scratch"])  # with what loading took
        self.assertGreater(result["host_peak_bytes"], result["host_anonymous_bytes"])
        self.assertRegex(result["quality_hash"], r"\A[0-9a-f]{16}\Z")
        # The same text by another way: 512 tokens of English prose, which the model knows.
        self.assertTrue(2 < result["quality_nats"] < 5, result["quality_nats"])

    def check_steps(self, result):
        limits, decode, prefill = result["limits"], result["decode_step"], result["prefill_step"]
        self.assertEqual((decode["tokens"], prefill["tokens"], decode["gpu_us"]), (1, 16, result["gpu_step_us"]))
        memory = max(limits["read_bytes_s"], limits["copy_bytes_s"])
        for step in (decode, prefill):
            for what, limit in (("bytes", memory), ("flops", limits["flops_s"])):
                self.assertAlmostEqual(step[what + "_s"] * step["gpu_us"] / 1e6, step[what], delta=1)
                self.assertAlmostEqual(step[what + "_share"] * limit / step[what + "_s"], 1, places=6)
        # Two operations a weight and the low ranks; of the file all but the embedding, and a state. The head is for the last token.
        head, n_weights = N_VOCAB * N_EMBD, N_LAYER * (4 + 2 * 4) * N_EMBD**2
        self.assertTrue(1 < decode["flops"] / 2 / (n_weights + head) < 1.3, decode)
        self.assertTrue(1 < prefill["flops"] / 2 / (16 * n_weights + head) < 1.3, prefill)
        for step in (decode, prefill):
            self.assertTrue(0.8 < step["bytes"] / (os.path.getsize(DEMO_MODEL) - head * 144 / 256) < 1.3, step)

    def rows(self, text):
        """[{head: cell}] of the only table."""
        lines = [line for line in text.splitlines() if line.startswith("|")]
        table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        return [dict(zip(table[0], row, strict=True)) for row in table[2:]]

    def test_json_and_two_rows(self):
        file = self.path("history.md")
        history = ("--title", "Faster head", "--file", file)
        first = self.run_json(*self.FLAGS, *history, "--change", "before | with a bar")
        self.check_json(first)
        with open(file, encoding="utf-8") as opened:
            before = opened.read()
        self.assertIn("\n## Faster head\n", before)
        # With a clock that gives no sense: the figures that need it are left out (RELIABILITY 48).
        text, stderr = self.run_program("bench", "-p", "The old man and the raven", "-n", "3", "--repeat", "1", "--batch", "1",
                                        *history, "--change", "after", "--chunk", "256", "--states", "f16",
                                        env={"RAVENWING_TEST_CLOCK": "backwards,hours"})
        text = text.decode()
        self.assertIn("clock gave no sense", stderr)
        self.assertRegex(text, r"(?m)^GPU busy at decode +n/a ")
        self.assertNotRegex(text, r"\bnan\b|\binf\b|\s-\d|GPU, a ")
        with open(file, encoding="utf-8") as opened:
            after = opened.read()
        self.assertTrue(after.startswith(before))
        rows = self.rows(after)
        self.assertEqual([row["change"] for row in rows], [r"before \| with a bar", "after"])
        self.assertEqual(rows[0]["to the first row"], "-")
        for key, head in (("model", "model"), ("device", "device"), ("commit", "commit"), ("driver", "driver")):
            self.assertEqual(rows[0][head], first[key])
            self.assertEqual(rows[1][head], first[key])
        self.assertIn("chunk 256", rows[1]["settings"])
        self.assertEqual([", states f16" in row["settings"] for row in rows], [False, True])
        self.assertEqual(first["states"], "f32")
        n_prompt = len(self.run_json("tokenize", "-m", DEMO_MODEL, "The old man and the raven")["ids"])
        self.assertEqual([row["prompt"] for row in rows], ["20", str(n_prompt)])
        self.assertEqual([row["sequences"] for row in rows], ["2", "1"])
        self.assertEqual(rows[1]["their tok/s"], "-")
        self.assertTrue(rows[0]["quality hash, nats"].startswith(first["quality_hash"] + ", "))
        number = [{head: float(re.match(r"[\d.]+", row[head])[0]) for head in row if re.match(r"\d", row[head])} for row in rows]
        self.assertAlmostEqual(number[0]["decode tok/s"], first["decode_tok_s"]["median"], delta=0.51)
        self.assertAlmostEqual(number[0]["GPU busy"], first["gpu_busy"], delta=0.006)
        # The figures of the text are those of its row; the deltas are of the rows' figures.
        self.assertIn(f"{rows[1]['decode tok/s'].split()[0]} tok/s", text)
        self.assertEqual(rows[1]["GPU busy"], "-")
        delta = dict(re.findall(r"(\w+) ([+-][\d.]+) %", rows[1]["to the first row"]))
        self.assertEqual(list(delta), ["load", "decode"])  # another prompt, other sequences
        for name, head in (("load", "load ms, warm / cold"), ("decode", "decode tok/s")):
            self.assertAlmostEqual(float(delta[name]), 100 * (number[1][head] / number[0][head] - 1), delta=0.051)

    def test_what_cannot_be_is_told_at_once(self):
        file = self.path("own.md")
        with open(file, "w", encoding="utf-8") as opened:
            opened.write("# Mine\n\n## Faster head\n\nNo table.\n")
        title = ("bench", "--title", "Faster head", "--change", "x")
        self.expect_error(*title, "--file", file, status=1, words=["own.md", "Faster head", "--title"])
        self.expect_error(*title, "--file", self.path("none/new.md"), status=1, words=["none", "No such file"])
        self.expect_error(*title, "--file", self.folder.name, status=1, words=["no regular file"])
        self.expect_error("bench", "--title", "", "--change", "x", status=2, words=["--title"])
        self.expect_error("bench", "--title", "a", status=2, words=["--title", "--change"])
        self.expect_error("bench", "--change", "a", status=2, words=["--change", "--title"])
        self.expect_error("bench", "--file", "a", status=2, words=["--file", "--title"])
        with open(file, encoding="utf-8") as opened:
            self.assertEqual(opened.read(), "# Mine\n\n## Faster head\n\nNo table.\n")
        self.assertEqual(os.listdir(self.folder.name), ["own.md"])

    def test_flags(self):
        file = self.path("a.gguf")
        self.expect_error("bench", "--write", file, status=2, words=["--synthetic"])
        self.expect_error("bench", "--synthetic", "3b:f16", status=2, words=["3b", "2.9b"])
        self.expect_error("bench", "--synthetic", "0.1b:f16", "-m", file, status=2, words=["-m", "--synthetic"])
        self.expect_error("bench", "--chunk", "2049", status=2, words=["--chunk", "2048"])
        self.expect_error("bench", "-p", "a", "--prompt-tokens", "1", status=2, words=["--prompt", "--prompt-tokens"])
        self.expect_error("bench", "-p", "", status=2, words=["--prompt", "empty"])
        self.expect_error("bench", "swep", status=2, words=["'swep'", "did you mean sweep?"])
        self.expect_error("bench", "--chunk", "64", "sweep", status=2, words=["--chunk", "behind `sweep`"])
        self.assertEqual(os.listdir(self.folder.name), [])


@needs_adapter
class SubmitsTest(Figures):
    FLAGS = ("bench", "submits", "-n", "6", "--repeat", "1")

    def test_submits(self):
        result = self.run_json(*self.FLAGS, "--steps", "1,4", "--dispatches", "16")
        self.assertEqual((result["tokens"], result["repeat"]), (6, 1))
        self.assertEqual([(row["steps"], row["dispatches"]) for row in result["submits"]], [(1, None), (4, None), (1, 16)])
        for row in result["submits"]:
            self.check_readings(row["decode_tok_s"])
        text = self.run_program(*self.FLAGS, "--steps", "2", "--dispatches", "9")[0].decode()
        for row in (r"2 +all", r"1 +9"):
            self.assertRegex(text, rf"(?m)^ +{row} +[\d.]+ +\([\d.]+ to [\d.]+\)$")

    def test_flags(self):
        for flag, value in (("--steps", "0"), ("--steps", "65"), ("--steps", "1,x"), ("--dispatches", "0")):
            self.expect_error(*self.FLAGS, flag, value, status=2, words=[flag])


@needs_adapter
class SweepTest(Figures):
    def test_sweep(self):
        result = self.run_json("bench", "sweep", "--chunk", "10..40", "--prompt-tokens", "48", "--repeat", "2")
        self.assertEqual((result["prompt_tokens"], result["repeat"]), (48, 2))
        self.assertEqual([row["chunk"] for row in result["chunks"]], [16, 32])
        for row in result["chunks"]:
            self.check_readings(row["prefill_tok_s"])
            self.assertGreater(row["gpu_peak_bytes"], os.path.getsize(DEMO_MODEL))
        best = max(result["chunks"], key=lambda row: row["prefill_tok_s"]["median"])
        self.assertEqual(result["best_chunk"], best["chunk"])
        self.assertIsNone(result["kept_in"])  # the default was not measured
        text = self.run_program("bench", "sweep", "--chunk", "16", "--prompt-tokens", "16", "--repeat", "1")[0].decode()
        self.assertRegex(text, r"(?m)^ +16 +[\d.]+ +\([\d.]+ to [\d.]+\) +[\d.]+\nbest: 16$")

    def test_flags(self):
        for chunk in ("0..64", "64..4096", "x", "64..", "..64", "-1..4", "64-128"):
            self.expect_error("bench", "sweep", f"--chunk={chunk}", status=2, words=["--chunk", "1 to 2048"])
        for chunk in ("65..127", "64..32"):
            self.expect_error("bench", "sweep", "--chunk", chunk, status=2, words=[chunk, "no power of two"])


@needs_adapter
class FormatsTest(Figures):
    def test_formats(self):
        copy = self.path("a copy.gguf")
        os.symlink(DEMO_MODEL, copy)
        flags = ("--prompt-tokens", "8", "-n", "4", "--repeat", "1")
        result = self.run_json("bench", "formats", DEMO_MODEL, copy, *flags)
        self.assertEqual([row["file"] for row in result["files"]], [DEMO_MODEL, copy])
        self.assertEqual((result["prompt_tokens"], result["tokens"], result["repeat"]), (8, 4, 1))
        for row in result["files"]:
            for key in ("load_ms", "prefill_tok_s", "decode_tok_s"):
                self.check_readings(row[key])
            self.assertEqual(row["file_bytes"], os.path.getsize(DEMO_MODEL))
            self.assertGreater(row["gpu_peak_bytes"], 0.9 * row["file_bytes"])
            self.assertGreater(row["host_peak_bytes"], 1 << 20)
        text = self.run_program("bench", "formats", copy, *flags)[0].decode()
        self.assertRegex(text, r"\A +file MB .*pp8 tok/s.*file\n +21\.2( +[\d.]+){5}  .*a copy\.gguf\n\Z")

    def test_flags(self):
        self.expect_error("bench", "formats", status=2, words=["FILE"])
        self.expect_error("bench", "formats", self.path("missing"), status=1, words=["missing", "No such file"])


if __name__ == "__main__":
    unittest.main()
