#!/usr/bin/env python3
"""ravenwing generate on the demo model."""
import json
import os
import re
import signal
import subprocess
import tempfile
import unittest

from program import DEMO_MODEL, PROGRAM, ProgramTest, needs_adapter

PROMPT = "Once upon a time"


@needs_adapter
class GenerateTest(ProgramTest):
    def test_json(self):
        result = self.run_json("generate", "-p", PROMPT, "-n", "8", "--temp", "0")
        self.assertLessEqual({"text", "ids", "finish_reason", "timings", "seed"}, result.keys())
        self.assertEqual(set(result["timings"]), {"load_ms", "device_ms", "first_token_ms", "prefill_tokens", "prefill_tok_s", "decode_tokens",
                                                  "decode_tok_s"})
        self.assertEqual(len(result["ids"]), 8)
        self.assertEqual(result["finish_reason"], "length")
        self.assertEqual(result["timings"]["prefill_tokens"], 4)
        for key in ("load_ms", "prefill_tok_s", "decode_tok_s"):
            self.assertGreater(result["timings"][key], 0)
        # No stop token and no half character among them: the text is that of the ids.
        ids = " ".join(map(str, result["ids"]))
        self.assertEqual(self.run_program("tokenize", "-m", DEMO_MODEL, "--decode", ids)[0].decode(), result["text"])

    def test_text_is_that_of_json_however_the_prompt_comes(self):
        flags = ("-n", "8", "--exact", "--seed", "5", "--temperature", "0.9", "--top-p", "0.9", "--top-k", "50")
        expected = self.run_json("generate", "-p", PROMPT, *flags)["text"].encode()
        with tempfile.NamedTemporaryFile() as file:
            file.write(PROMPT.encode())
            file.flush()
            from_file, stderr = self.run_program("generate", "-m", DEMO_MODEL, "-f", file.name, *flags)
        self.assertEqual(from_file, expected + b"\n")
        self.assertRegex(stderr, r"ravenwing: load [\d.]+ ms .*prefill 4 tokens at [\d.]+ tok/s, decode \d+ tokens at [\d.]+ tok/s, .*"
                                 r" T[01], seed 5\n\Z")
        self.assertEqual(self.run_program("generate", *flags, stdin=PROMPT.encode())[0], expected + b"\n")
        self.assertEqual(self.run_program("generate", "-f", "-", "--echo", *flags, stdin=PROMPT.encode())[0],
                         PROMPT.encode() + expected + b"\n")

    def test_load_modes(self):
        flags = ("generate", "-p", PROMPT, "-n", "4", "--temp", "0", "--exact")
        expected = self.run_json(*flags)["ids"]
        for load in (("--load", "full", "--no-mmap"), ("--load", "lazy")):
            result = self.run_json(*flags, *load)
            self.assertEqual(result["ids"], expected, load)
            self.assertGreater(result["timings"]["first_token_ms"], result["timings"]["load_ms"])
        self.expect_error(*flags, "--load", "slowly", status=2, words=["slowly"])
        self.expect_error(*flags, "--states", "f16", status=2, words=["--exact", "--states f16"])

    def test_pipeline_cache(self):
        flags = ("generate", "-p", PROMPT, "-n", "2", "--temp", "0", "--exact")
        with tempfile.TemporaryDirectory() as folder:
            run = lambda *more, place=folder: self.run_json(*flags, *more, env={"RAVENWING_CACHE_DIR": place})
            first, second = run(), run()
            self.assertEqual(first["pipeline_cache"]["damaged"], 0)
            self.assertGreater(first["pipeline_cache"]["misses"], 0)
            self.assertEqual(second["pipeline_cache"]["misses"], 0)
            self.assertGreater(second["pipeline_cache"]["hits"], 0)
            entries = [os.path.join(folder, "pipelines", name) for name in os.listdir(os.path.join(folder, "pipelines"))]
            for path in entries:
                os.truncate(path, os.path.getsize(path) - 1)
            third = run()
            self.assertGreater(third["pipeline_cache"]["damaged"], 0)
            self.assertEqual(third["pipeline_cache"]["hits"], 0)
            nowhere = run(place=os.path.join(entries[0], "below a file"))
            off = run("--no-pipeline-cache")
            self.assertEqual(off["pipeline_cache"], {"hits": 0, "misses": 0, "damaged": 0})
            for result in (second, third, nowhere, off):
                self.assertEqual(result["ids"], first["ids"])

    def test_seeds(self):
        run = lambda *seed: self.run_json("generate", "-p", "The", "-n", "6", "--temp", "1.5", "--top-p", "1", *seed)
        first, again, other, random = run("-s", "1"), run("-s", "1"), run("-s", "2"), run()
        self.assertEqual(first["ids"], again["ids"])
        self.assertNotEqual(first["ids"], other["ids"])
        self.assertEqual(random["ids"], run("--seed", str(random["seed"]))["ids"])

    def test_logprobs(self):
        flags = ("generate", "-p", PROMPT, "-n", "3", "--temp", "0", "--exact", "--logprobs", "2")
        result = self.run_json(*flags)
        self.assertEqual([entry["id"] for entry in result["logprobs"]], result["ids"])
        for entry in result["logprobs"]:
            self.assertEqual(entry["top"][0], {"id": entry["id"], "logprob": entry["logprob"]})
            self.assertEqual(len(entry["top"]), 2)
            self.assertLess(entry["top"][1]["logprob"], entry["logprob"])
        self.assertNotIn("logprobs", self.run_json(*flags[:-2]))
        self.expect_error(*flags, status=2, words=["--logprobs", "--json"])

    def test_sampler_flags(self):
        flags = ("generate", "-p", PROMPT, "-n", "3", "--exact", "--seed", "4")
        self.assertEqual(self.run_json(*flags, "--logit-bias", "300=100", "--logit-bias", "7=-3.5")["ids"], [300, 300, 300])
        self.assertEqual(len(set(self.run_json(*flags, "--logit-bias", "300=20", "--presence-penalty", "100")["ids"])), 3)
        plain = self.run_json(*flags, "--temp", "0")["ids"]
        for one in (("--min-p", "1"), ("--mirostat-tau", "0.001"), ("--top-k", "1", "--sampler-order", "llama", "--typical-p", "0.5")):
            self.assertEqual(self.run_json(*flags, *one)["ids"], plain)
        self.assertNotEqual(self.run_json(*flags, "--xtc-probability", "1", "--xtc-threshold", "0.001")["ids"][0], plain[0])

    def test_stop(self):
        flags = ("generate", "-p", PROMPT, "-n", "8", "--temp", "0", "--exact")
        whole = self.run_json(*flags)["text"]
        stop = whole[9:13]  # begins and ends within tokens
        result = self.run_json(*flags, "--stop", "[never,there]", "--stop", stop, "--stop", "{}")
        self.assertEqual((result["text"], result["finish_reason"]), (whole[:whole.index(stop)], "stop"))
        self.assertEqual(self.run_program(*flags, "--stop", stop)[0].decode().rstrip("\n"), result["text"].rstrip("\n"))
        # A flag takes one text; those that look like lists are texts too.
        self.assertEqual(self.run_json(*flags, "--stop", f"[{stop},x]")["text"], whole)

    def test_empty_prompt_and_no_tokens(self):
        self.assertEqual(len(self.run_json("generate", "-p", "", "-n", "2", "--temp", "0")["ids"]), 2)
        self.assertEqual(self.run_json("generate", "-p", "a", "-n", "0")["text"], "")

    def test_interrupted(self):
        command = [PROGRAM, "generate", "-p", PROMPT, "-n", "4000", "--seed", "1"]
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                begin = process.stdout.read(12)
                self.assertEqual(len(begin), 12)
                process.send_signal(number)
                stderr = process.stderr.read().decode()
                self.assertEqual(process.wait(timeout=60), 130, stderr)
                self.assertTrue(stderr.endswith("ravenwing: interrupted\n"), stderr)
                (begin + process.stdout.read()).decode()  # whole characters

    def test_reader_that_goes_away(self):
        with subprocess.Popen([PROGRAM, "generate", "-p", PROMPT, "-n", "4000", "--seed", "1"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(4)
            process.stdout.close()
            stderr = process.stderr.read().decode()
            self.assertEqual(process.wait(timeout=60), 0, stderr)
            self.assertNotIn("error", stderr)

    def test_software_is_announced_unless_asked_for(self):
        devices = self.run_json("devices")
        flags = ("generate", "-p", "a", "-n", "1", "--seed", "1")
        note = "no GPU found, using software Vulkan"
        self.assertEqual(note in self.run_program(*flags)[1], devices[0]["software"])
        self.assertNotIn(note, self.run_program(*flags, "--device", "0")[1])
        self.assertNotIn(note, self.run_program(*flags, "--device", devices[0]["name"][1:6].upper(), "--tier", "T0")[1])
        if any(device["software"] for device in devices):
            result = json.loads(self.run_program(*flags, "--device", "software", "--json")[0])
            self.assertEqual(result["device"], next(device["name"] for device in devices if device["software"]))

    def test_locales_change_nothing(self):
        flags = ("generate", "-p", PROMPT, "-n", "2", "--temperature", "0.5", "--top-p", "0.9", "--seed", "3", "--exact")
        expected = self.run_json(*flags)["ids"]
        for locale in ("de_DE.UTF-8", "tr_TR.UTF-8"):
            self.assertEqual(self.run_json(*flags, env={"LC_ALL": locale})["ids"], expected)

    def test_runs_from_any_folder(self):
        program = os.path.abspath(PROGRAM)
        done = subprocess.run([program, "generate", "-p", "a", "-n", "1"], cwd="/", stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_example(self):
        hello = os.path.join(os.path.dirname(os.path.abspath(PROGRAM)), "hello")
        done = subprocess.run([hello], stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        expected = self.run_program("generate", "-p", PROMPT, "-n", "32", "--temperature", "0.8", "--seed", "7")[0]
        self.assertEqual(done.stdout, expected)

    def test_example_of_hooks(self):
        hooks = os.path.join(os.path.dirname(os.path.abspath(PROGRAM)), "hooks")
        done = subprocess.run([hooks], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8")
        self.assertEqual(done.returncode, 0, done.stderr)
        norms = [float(x) for x in re.findall(r"(?m)^layer \d+: \|x\| = (\S+)$", done.stdout)]
        start = float(re.search(r"(?m)^distance of the logits: (\S+)$", done.stdout)[1])
        patched = [float(x) for x in re.findall(r"(?m)^gate of layer \d+ patched: (\S+)$", done.stdout)]
        self.assertEqual(len(norms), len(patched))
        self.assertGreater(min(norms), 0)
        self.assertLess(min(patched), start)


if __name__ == "__main__":
    unittest.main()
