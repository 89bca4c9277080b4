#!/usr/bin/env python3
"""ravenwing inspect, devices, doctor, perplexity and logits on the demo model."""
import array
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

from program import DEMO_MODEL, GOLDEN, ROOT, ProgramTest, needs_adapter, read_npy

# "Once upon a time" in the demo model's vocabulary
IDS = [2397, 3662, 286, 3631]
N_VOCAB = 8192


class InspectTest(ProgramTest):
    def test_json(self):
        info = self.run_json("inspect", DEMO_MODEL)
        expected = {"container": "gguf", "architecture": "rwkv7", "n_layer": 6, "n_embd": 512, "n_head": 8, "head_size": 64,
                    "n_ffn": 2048, "n_vocab": N_VOCAB, "rank_w": 64, "rank_a": 64, "rank_v": 32, "rank_g": 128,
                    "file_bytes": os.path.getsize(DEMO_MODEL),
                    "state_bytes": 6 * 512 * (64 * 4 + 2 * 4), "state_bytes_f16": 6 * 512 * (64 * 2 + 2 * 4)}
        self.assertEqual({key: info[key] for key in expected}, expected)
        self.assertEqual(info["metadata"]["general.architecture"], "rwkv7")
        self.assertEqual(sum(tensor["n_bytes"] for tensor in info["tensors"]), sum(info["bytes_by_type"].values()))
        head = next(tensor for tensor in info["tensors"] if tensor["name"] == "output.weight")
        self.assertEqual((head["type"], head["shape"]), ("Q6_K", [N_VOCAB, 512]))

    def test_text(self):
        text = self.run_program("inspect", DEMO_MODEL)[0].decode()
        for words in ("8 heads of 64", "w 64, a 64, v 32, g 128", "general.name = tiny-rwkv7", "Q4_K", "0.8 MB for each sequence, 0.4 MB with --states f16"):
            self.assertIn(words, text)
        self.assertRegex(text, r"output\.weight +Q6_K +\[8192, 512\]")


@needs_adapter
class DeviceTest(ProgramTest):
    def test_devices(self):
        devices = self.run_json("devices")
        text = self.run_program("devices")[0].decode()
        for index, device in enumerate(devices):
            self.assertEqual(device["index"], index)
            self.assertIn(device["tier"], ("T0", "T1"))
            self.assertGreaterEqual(device["limits"]["binding_bytes_max"], 128 << 20)  # what WebGPU promises
            self.assertIn(f"{index}: {device['name']}", text)
        self.assertEqual([device["software"] for device in devices], sorted(device["software"] for device in devices))

    def test_doctor(self):
        report = self.run_program("doctor")[0].decode()
        self.assertTrue(report.startswith(self.run_program("--version")[0].decode()))
        self.assertRegex(report, r"\nSystem: .*Linux \d")
        self.assertRegex(report, r"\nVulkan loader: 1\.\d+\.\d+, /.*libvulkan")
        path, found = re.search(r"\nWebGPU library: (/.*), SHA-256 ([0-9a-f]{64})\n", report).groups()
        with open(path, "rb") as file:
            self.assertEqual(found, hashlib.file_digest(file, "sha256").hexdigest())
        built_for = re.search(r"\nBuilt for WebGPU library: .*, SHA-256 ([0-9a-f]{64}|unknown)\n", report)[1]
        self.assertIn(built_for, (found, "unknown"))
        first = self.run_json("devices")[0]
        self.assertIn(f"\nAdapter 0: {first['name']}", report)
        tiers = ["T0", "T1"] if first["tier"] == "T1" else ["T0"]
        self.assertEqual(re.findall(r"\nSelf-test passed: (T\d) ", report), tiers)
        self.assertNotIn("FAILED", report)

    def test_doctor_without_its_device(self):
        stdout, stderr = self.run_program("doctor", "--device", "nosuch", status=3)
        self.assertIn(b"\nAdapter 0: ", stdout)
        self.assertIn("nosuch", stderr)


@needs_adapter
class PerplexityTest(ProgramTest):
    def setUp(self):
        with open(os.path.join(GOLDEN, "validation.txt"), "rb") as file:
            self.text = file.read(500)
        self.n_tokens = len(self.run_json("tokenize", "-m", DEMO_MODEL, "-", stdin=self.text)["ids"])

    def test_json(self):
        result = self.run_json("perplexity", "-f", "-", stdin=self.text)
        self.assertEqual(list(result), ["model", "tokens", "nats_per_token", "perplexity", "bits_per_byte"])
        self.assertEqual(result["tokens"], self.n_tokens - 1)
        with open(os.path.join(GOLDEN, "validation.nll.npy"), "rb") as file:
            reference = array.array("f", file.read()[128:])
        mean = sum(reference[:self.n_tokens - 1]) / (self.n_tokens - 1)
        # Four-bit weights against fp32 on few tokens.
        self.assertAlmostEqual(result["nats_per_token"], mean, delta=0.15)
        self.assertAlmostEqual(result["perplexity"], math.exp(result["nats_per_token"]), places=6)
        bits = result["nats_per_token"] * result["tokens"] / math.log(2) / len(self.text)
        self.assertAlmostEqual(result["bits_per_byte"], bits, places=6)

    def test_chunks_change_nothing_where_it_is_exact(self):
        text = self.text[:120]
        whole, one, seven = (self.run_json("perplexity", "-f", "-", "--exact", "--chunk", n, stdin=text) for n in ("512", "1", "7"))
        self.assertEqual(whole, one)
        self.assertEqual(whole, seven)

    def test_text(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.text[:40])
            file.flush()
            stdout, _ = self.run_program("perplexity", "-m", DEMO_MODEL, "-f", file.name)
        self.assertRegex(stdout, rb"\A[\d.]+ nats/token, perplexity [\d.]+, [\d.]+ bits/byte \(\d+ tokens scored\)\n\Z")

    def test_too_short(self):
        for text in (b"", b"a"):
            self.expect_error("perplexity", "-f", "-", stdin=text, status=1, words=["at least 2"])


@needs_adapter
class BenchKernelsTest(ProgramTest):
    N_EMBD, N_VOCAB, Q4_K_ROW = 768, 65536, 768 // 256 * 144

    def test_json(self):
        result = self.run_json("bench", "kernels", "--shapes", "0.1b", "--formats", "q4_k", "--columns", "3")
        self.assertTrue(all(value > 0 for value in result["limits"].values()))
        kernels = {(reading["kernel"], reading["sequences"]): reading for reading in result["kernels"]}
        self.assertEqual(len(kernels), len(result["kernels"]))
        self.assertEqual({reading["family"] for reading in kernels.values()},
                         {"matmul", "time_mix", "token_shift", "layer_norm", "embed", "sample", "penalties"})
        memory = max(result["limits"]["read_bytes_s"], result["limits"]["copy_bytes_s"])
        for reading in kernels.values():
            self.assertGreater(reading["us"], 0)
            share = max(reading["bytes"] / memory, reading["flops"] / result["limits"]["flops_s"]) / reading["us"] * 1e6
            self.assertAlmostEqual(reading["limit_percent"], 100 * share, delta=1e-6 * share)
        head, r_k_v = kernels["head", 1], kernels["time_mix.r_k_v", 1]
        self.assertEqual((head["bytes"], head["flops"]), (self.N_VOCAB * self.Q4_K_ROW, 2 * 3 * self.N_VOCAB * self.N_EMBD))
        self.assertEqual((head["format"], head["tokens"]), ("Q4_K", 3))
        self.assertEqual(r_k_v["bytes"], 3 * self.N_EMBD * self.Q4_K_ROW)
        # States of three texts, of one; logits are read once.
        self.assertEqual((kernels["time_mix", 3]["bytes"], kernels["time_mix", 1]["bytes"]), (3 * 8 * 64 * self.N_EMBD, 8 * 64 * self.N_EMBD))
        halved = self.run_json("bench", "kernels", "--shapes", "0.1b", "--families", "time_mix", "--columns", "3", "--states", "f16")
        self.assertEqual({(reading["kernel"], reading["sequences"]): reading["bytes"] for reading in halved["kernels"]},
                         {("time_mix, f16 states", n): n * 4 * 64 * self.N_EMBD for n in (1, 3)})
        self.assertEqual(kernels["sample, greedy", 3]["bytes"], 3 * (4 * self.N_VOCAB + 256))
        # x once, six mixtures of f16 (or f32 on T0); each state read and written; weight, bias and six coefficients.
        act = 4 if result["tier"] == "T0" else 2
        for n in (1, 3):
            self.assertEqual(kernels["time_mix.token_shift", n]["bytes"], self.N_EMBD * (3 * 4 + 3 * 6 * act + n * 2 * 4 + 8 * 4))
        self.assertEqual(kernels["embed", 1]["bytes"], self.N_EMBD * 8 + 3 * (self.Q4_K_ROW + 4 * self.N_EMBD))

    def test_text_and_matrices_of_ones_own(self):
        text = self.run_program("bench", "kernels", "--matrices", "64+32x256", "--formats", "F16", "--columns", "1")[0].decode()
        self.assertRegex(text, r"\nLimits of the device, measured: reads [\d.]+ GB/s")
        self.assertRegex(text, r"\n +64\+32x256 +F16 +1 x 1 +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+%\n\Z")

    def test_flags(self):
        for flags, words in ((("--shapes", "3b"), ["3b", "2.9b"]), (("--formats", "q4_k_m"), ["q4_k_m", "Q4_K"]),
                             (("--families", "attention"), ["attention", "time_mix"]), (("--columns", "0"), ["columns"]),
                             (("--tiles", "2/2"), ["2/2", "DEPTH"]), (("--matrices", "64"), ["'64'", "ROWSxINPUTS"]),
                             (("--matrices", "64x100"), ["64x100", "256", "Q4_K"])):
            self.expect_error("bench", "kernels", *flags, status=2, words=words)
        self.expect_error("bench", "--json", "kernels", status=2, words=["--json", "behind `kernels`"])


@needs_adapter
class ProfileTest(ProgramTest):
    N_LAYER, N_EMBD, N_FFN, HEAD_SIZE = 6, 512, 2048, 64
    KINDS = {"embed Q4_K": 1, "time_mix": 6, "time_mix.token_shift": 6, "time_mix.low_rank_down F16": 6, "head Q6_K": 1,
             "sample": 1}

    def test_roofline(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("decode.json", "prefill.json")]
            for path, n_tokens in zip(paths, ("1", "8")):
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(self.run_json("profile", "--repeat", "1", "-n", n_tokens), file)
            script = [sys.executable, os.path.join(ROOT, "tools/roofline.py")]
            drawn = subprocess.run(script + paths, capture_output=True, text=True, check=True).stdout
            root = xml.etree.ElementTree.fromstring(drawn)
            words = [node.text for node in root.iter() if node.tag.endswith("text")]
            self.assertTrue(any("8 tokens" in word for word in words) and "time_mix" in words, words)
            with open(paths[0], encoding="utf-8") as file:
                kinds = [kind for kind in json.load(file)["kinds"] if kind["bytes"] and kind["flops"] and kind["us"]]
            self.assertGreater(sum(node.tag.endswith("circle") for node in root.iter()), len(kinds))
            refused = subprocess.run(script + [os.devnull], capture_output=True, text=True)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(os.devnull, refused.stderr)

    def test_json(self):
        profile = self.run_json("profile", "--repeat", "2")
        self.assertEqual((profile["sequences"], profile["tokens"]), (1, 1))
        self.assertTrue(0 < profile["encode_us"] <= profile["step_us"])
        kinds = {kind["name"]: kind for kind in profile["kinds"]}
        self.assertEqual({name: kinds[name]["calls"] for name in self.KINDS}, self.KINDS)
        self.assertEqual([kind["us"] for kind in profile["kinds"]],
                         sorted((kind["us"] for kind in profile["kinds"]), reverse=True))
        self.assertTrue(all(kind["us"] >= 0 for kind in kinds.values()))
        # The head: 8192 rows of 512 weights in blocks of 256, 210 bytes each, padded to 16; a product and a sum for each.
        self.assertEqual(kinds["head Q6_K"]["bytes"], N_VOCAB * 432)
        self.assertEqual(kinds["head Q6_K"]["flops"], 2 * N_VOCAB * self.N_EMBD)
        # States are read and written.
        self.assertEqual(kinds["time_mix"]["bytes"], self.N_LAYER * 8 * self.N_EMBD * self.HEAD_SIZE)
        # ln_out reads a row of f32, weight and bias; it writes a row of f16, or of f32 on T0.
        act = 4 if self.run_json("devices")[0]["tier"] == "T0" else 2
        self.assertEqual(kinds["ln_out"]["bytes"], self.N_EMBD * (4 + act + 2 * 4))
        self.assertEqual(kinds["sample"]["bytes"], 4 * N_VOCAB + 256)
        # Each is measured against the nearer limit.
        limits = profile["limits"]
        self.assertTrue(all(value > 0 for value in limits.values()), limits)
        for kind in kinds.values():
            share = max(kind["bytes"] / max(limits["read_bytes_s"], limits["copy_bytes_s"]), kind["flops"] / limits["flops_s"])
            self.assertAlmostEqual(kind["limit_percent"], 100e6 * share / kind["us"], delta=1e-6 * kind["limit_percent"])
            self.assertGreater(kind["limit_percent"], 0)
        # The GPU is busy with them for most of a step.
        self.assertGreater(sum(kind["us"] for kind in kinds.values()), 0.2 * profile["step_us"])

    def test_trace_and_text(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            text = self.run_program("profile", "--repeat", "1", "-n", "3", "--sequences", "2", "--trace", path, "--top-k", "3",
                                    "--logit-bias", "7=2")[0].decode()
            self.assertRegex(text, r"\A2 x 3 tokens on .* us a step")
            self.assertRegex(text, r"(?m)^channel_mix\.value Q4_K +6 +[\d.]+ +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+ +[\d.]+%$")
            self.assertRegex(text, r"(?m)^Limits of the device, measured: reads [\d.]+ GB/s, copies [\d.]+ GB/s, multiplies ")
            with open(path, encoding="utf-8") as file:
                trace = json.load(file)
        events = trace["traceEvents"]
        spans = [event for event in events if event["ph"] == "X" and event["tid"] == 2]
        self.assertIn("L05.time_mix", [span["name"] for span in spans])
        self.assertIn("L00.channel_mix.key Q4_K", [span["name"] for span in spans])
        self.assertTrue(all(span["ts"] >= 0 and span["dur"] >= 0 for span in spans))
        # The CPU encodes, submits and waits; meanwhile the GPU works, as far as their clocks can be compared.
        host = [event for event in events if event["ph"] == "X" and event["tid"] == 1]
        self.assertEqual([event["name"] for event in host], ["encode", "submit", "wait"])
        for before, after in zip(host, host[1:]):
            self.assertAlmostEqual(before["ts"] + before["dur"], after["ts"], delta=0.01)
        error = trace["otherData"]["clock_error_us"]
        if error is not None:
            self.assertGreaterEqual(spans[0]["ts"], host[1]["ts"] - error)
            self.assertLessEqual(spans[-1]["ts"] + spans[-1]["dur"], host[2]["ts"] + host[2]["dur"] + error)
        # One after another, as the plan has them.
        for before, after in zip(spans, spans[1:]):
            self.assertGreaterEqual(after["ts"], before["ts"])

    def test_a_clock_that_gives_no_sense(self):
        """RELIABILITY 48"""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")

            def profile(clock, *flags):
                return self.run_program("profile", "--repeat", "2", "--trace", path, *flags,
                                        env={"RAVENWING_TEST_CLOCK": clock})

            def spans(n_untimed):
                with open(path, encoding="utf-8") as file:
                    trace = json.load(file, parse_constant=self.fail)
                self.assertEqual(trace["otherData"]["untimed"], n_untimed)
                found = [event for event in trace["traceEvents"] if event["ph"] == "X"]
                self.assertTrue(all(event["ts"] >= 0 and 0 <= event["dur"] < 60e6 for event in found), found)
                return [event for event in found if event["tid"] == 2]

            some = json.loads(profile("sound,backwards,zero,sound,hours,zero", "--json")[0], parse_constant=self.fail)
            n_calls = sum(kind["calls"] for kind in some["kinds"])
            n_timed = sum(kind["timed"] for kind in some["kinds"])
            self.assertEqual(n_calls - n_timed, some["untimed"])
            self.assertAlmostEqual(n_timed, n_calls / 3, delta=2)
            self.assertEqual(len(spans(some["untimed"])), n_timed)
            for kind in some["kinds"]:
                self.assertEqual(kind["us"] is None, kind["timed"] == 0)
                self.assertEqual(kind["limit_percent"] is None, kind["timed"] == 0)
                self.assertTrue(kind["us"] is None or 0 < kind["us"] < 60e6)
            text, stderr = profile("backwards,zero,hours")
            self.assertEqual(spans(n_calls), [])
            self.assertIn("limits of the device are left out", stderr)
            self.assertIn("clock gave no sense", stderr)
            text = text.decode()
            self.assertRegex(text, r"(?m)^time_mix +6 +n/a$")
            self.assertIn("Dispatch by dispatch n/a us", text)
            self.assertIn(f"\n{n_calls} of {n_calls} dispatches have no time", text)
            self.assertNotRegex(text, r"\bnan\b|\binf\b|\s-\d")
            none = json.loads(profile("hours", "--json")[0], parse_constant=self.fail)
            self.assertEqual({kind["us"] for kind in none["kinds"]}, {None})
            self.assertIsNone(none["limits"])
            self.assertGreater(none["step_us"], 0)
        _, stderr = self.run_program("bench", "kernels", "--matrices", "64x256", "--formats", "F16", "--columns", "1", status=1,
                                     env={"RAVENWING_TEST_CLOCK": "backwards"})
        self.assertIn("clock gave no sense", stderr)

    def test_flags(self):
        self.expect_error("profile", "--sequences", "100", "-n", "100", status=2, words=["100 texts of 100 tokens", "512"])
        self.expect_error("profile", "--top-p", "1.5", status=2, words=["top_p is 1.5"])
        self.expect_error("profile", "--trace", "/nonexistent/trace", "--repeat", "1", status=1, words=["/nonexistent/trace"])


@needs_adapter
class LogitsTest(ProgramTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def logits(self, *flags):
        path = os.path.join(self.folder.name, "logits.npy")
        self.assertEqual(self.run_program("logits", "--out", path, *flags)[0], b"")
        self.assertEqual([name for name in os.listdir(self.folder.name) if name.endswith(".tmp")], [])
        return read_npy(path)

    def test_one_row_all_rows_and_what_generate_chooses(self):
        shape, last = self.logits("--exact", "-p", "Once upon a time")
        self.assertEqual(shape, (N_VOCAB,))
        shape, rows = self.logits("--exact", "--ids", ",".join(map(str, IDS)), "--all")
        self.assertEqual(shape, (len(IDS), N_VOCAB))
        self.assertEqual(rows[-N_VOCAB:], last)
        greedy = self.run_json("generate", "--exact", "-p", "Once upon a time", "-n", "1", "--temp", "0")["ids"]
        self.assertEqual(greedy, [last.index(max(last))])

    def test_against_golden(self):
        with open(os.path.join(GOLDEN, "prompts.json"), encoding="utf-8") as file:
            prompt = next(prompt for prompt in json.load(file) if prompt["name"] == "short")
        self.assertEqual(prompt["ids"], IDS)
        _, last = self.logits("-p", prompt["text"])
        for token, logit in prompt["top20"][:5]:
            self.assertAlmostEqual(last[token], logit, delta=0.5)  # four-bit weights against fp32

    def test_states(self):
        folder = os.path.join(self.folder.name, "new", "state")
        self.logits("--ids", "2397 3662", "--state-out", folder)
        for name, expected in (("time_shift", (6, 512)), ("wkv", (6, 8, 64, 64)), ("channel_shift", (6, 512))):
            shape, values = read_npy(os.path.join(folder, name + ".npy"))
            self.assertEqual(shape, expected)
            self.assertTrue(any(values))
            self.assertTrue(all(map(math.isfinite, values)))

    def test_places_that_cannot_be_written(self):
        self.expect_error("logits", "-p", "a", "--out", os.path.join(self.folder.name, "no/x.npy"), status=1, words=["x.npy", "No such"])
        self.expect_error("logits", "-p", "a", "--out", self.folder.name, status=1, words=["no regular file"])

    def test_ids_that_the_model_does_not_have(self):
        path = os.path.join(self.folder.name, "x.npy")
        self.expect_error("logits", "--ids", "8192", "--out", path, status=2, words=["8192"])
        self.expect_error("logits", "--ids", "", "--out", path, status=2, words=["no token"])
        self.assertEqual(os.listdir(self.folder.name), [])


if __name__ == "__main__":
    unittest.main()
