#!/usr/bin/env python3
"""Damaged weights, disks that are full, a load that is interrupted, drivers that are missing (RELIABILITY rows 23, 25, 38 to 41)."""
import json
import os
import pty
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from program import DEMO_MODEL, PROGRAM, ProgramTest, needs_adapter

N_VOCAB = 300  # of the World vocabulary's 65530: enough for single bytes
NAN = b"\x00\x7e"


def tensors_of(n_embd, n_ffn):
    """Name and shape of all tensors of a model of one layer."""
    vector, square = [1, 1, n_embd], [n_embd, n_embd]
    shapes = {"emb.weight": [N_VOCAB, n_embd], "head.weight": [N_VOCAB, n_embd]}
    for name in ("blocks.0.ln0", "blocks.0.ln1", "blocks.0.ln2", "blocks.0.att.ln_x", "ln_out"):
        shapes |= {name + ".weight": [n_embd], name + ".bias": [n_embd]}
    shapes |= {f"blocks.0.att.{name}": vector for name in
               ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "a0", "k_k", "k_a")}
    shapes |= {"blocks.0.att.r_k": [n_embd // 64, 64], "blocks.0.ffn.x_k": vector}
    for name in "wag":
        shapes |= {f"blocks.0.att.{name}1": [n_embd, 32], f"blocks.0.att.{name}2": [32, n_embd]}
    shapes |= {f"blocks.0.att.{name}.weight": square for name in ("receptance", "key", "value", "output")}
    return shapes | {"blocks.0.ffn.key.weight": [n_ffn, n_embd], "blocks.0.ffn.value.weight": [n_embd, n_ffn]}


def write_model(path, n_embd, n_ffn, spoiled=()):
    """An RWKV-7 in f16 whose weights are zero, which the file system need not store, but for NaN in `spoiled`."""
    header, at = {}, 0
    for name, shape in tensors_of(n_embd, n_ffn).items():
        n_bytes = 2
        for length in shape:
            n_bytes *= length
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
        for name in spoiled:
            file.seek(8 + len(text) + header[name]["data_offsets"][0])
            file.write(NAN)


class FaultTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def model(self, *spoiled, n_embd=64, n_ffn=64):
        path = os.path.join(self.folder, "model.safetensors")
        write_model(path, n_embd, n_ffn, spoiled)
        return path


class DamagedWeightsTest(FaultTest):
    def test_check(self):
        self.run_program("inspect", "--check", self.model())
        for names in (["head.weight"], ["blocks.0.att.key.weight", "blocks.0.ffn.value.weight"]):
            _, stderr = self.run_program("inspect", "--check", self.model(*names), status=1)
            self.assertIn("NaN or infinity in " + ", ".join(names) + "\n", stderr)
            self.assertEqual(self.run_program("inspect", self.model(*names))[1], "")

    def test_small_tensors_are_told_of_without_asking(self):
        path = self.model("blocks.0.att.k_k")
        warning = "layer 0: k_k holds NaN or infinity"
        self.assertIn("warning: " + warning, self.run_program("inspect", path)[1])
        self.assertEqual(self.run_json("inspect", path)["warnings"], [warning])

    def test_text_with_a_byte_that_the_vocabulary_lacks(self):
        path = os.path.join(self.folder, "vocab.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write("1 'a' 1\n")
        self.expect_error("tokenize", "--vocab", path, "aab", status=1, words=["the byte 'b' at offset 2"])


@needs_adapter
class RunDamagedTest(FaultTest):
    def test_no_number_comes_of_it(self):
        for name in ("head.weight", "blocks.0.att.ln_x.weight"):
            path = self.model(name)
            for args in (["generate", "-p", "a", "--json", "--logprobs", "3"], ["generate", "-p", "a"],
                         ["generate", "-p", "a", "--temperature", "0"]):
                self.expect_error(*args, "-m", path, status=1, words=["logits are not finite after 1 tokens"])
            self.expect_error("perplexity", "-m", path, "-f", "-", "--json", stdin=b"a\x01a", status=1, words=["not finite"])
            out = os.path.join(self.folder, "logits.npy")
            stderr = self.run_program("logits", "-m", path, "-p", "a", "--out", out)[1]
            self.assertIn("warning: there are logits that are not finite", stderr)
            self.assertTrue(os.path.exists(out))
            self.assertEqual("warning: layer 0: ln_x.weight" in stderr, name != "head.weight")


@needs_adapter
class FullDiskTest(FaultTest):
    """No file may grow beyond some size, and the system says so instead of ending the program. Set only where the driver
    has all its memory, which are files to the system."""

    def limit(self, process, n_bytes):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

    def start(self, *args):
        # Python ignores SIGXFSZ, and so does what it starts this way.
        return subprocess.Popen([PROGRAM, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                restore_signals=False)

    def check_refused(self, process, path, before):
        stderr = process.communicate(timeout=300)[1].decode()
        self.assertEqual(process.returncode, 1, stderr)
        self.assertIn("ravenwing: error: ", stderr)
        self.assertIn(path, stderr)
        self.assertIn("File too large", stderr)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(os.listdir(self.folder), [os.path.basename(path)])

    def test_a_saved_session_stays(self):
        path = os.path.join(self.folder, "a.session")
        chat = self.start("chat", "-n", "1")
        for limited in (False, True):
            if limited:
                self.limit(chat, 10_000)
            chat.stdin.write(f"Hello\n/save {path}\n".encode())
            chat.stdin.flush()
            while not limited and b"saved to" not in chat.stderr.readline():
                pass
            if not limited:
                with open(path, "rb") as file:
                    before = file.read()
        self.check_refused(chat, path, before)

    def test_a_model_that_was_there_stays(self):
        path = os.path.join(self.folder, "model.gguf")
        shutil.copy(DEMO_MODEL, path)
        with open(path, "rb") as file:
            before = file.read()
        bench = self.start("bench", "--synthetic", "0.1b:q4_0", "--write", path)
        self.limit(bench, 10_000)
        self.check_refused(bench, path, before)


@needs_adapter
class InterruptedLoadTest(FaultTest):
    def test_interrupted_while_loading(self):
        path = self.model(n_embd=8192, n_ffn=32768)  # 1.5 GiB, which take a second or more
        terminal, stderr = pty.openpty()  # for the progress bar, which says that the load is on its way
        with subprocess.Popen([PROGRAM, "generate", "-m", path, "-p", "a"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=stderr) as process:
            os.close(stderr)
            seen = b""
            while b"loading [" not in seen:
                seen += os.read(terminal, 1000)
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            while b"interrupted" not in seen:
                seen += os.read(terminal, 1000)
            self.assertEqual(process.wait(timeout=60), 130)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertEqual(process.stdout.read(), b"")
        os.close(terminal)


@needs_adapter
class AdapterTest(FaultTest):
    def test_no_driver_falls_back_to_software(self):
        nowhere = {"VK_DRIVER_FILES": "/nonexistent/icd.json", "VK_ICD_FILENAMES": "/nonexistent/icd.json"}
        devices = self.run_json("devices", env=nowhere)
        self.assertEqual([device["software"] for device in devices], [True])
        stderr = self.run_program("generate", "-p", "a", "-n", "1", env=nowhere)[1]
        self.assertIn("no GPU found, using software Vulkan", stderr)
        self.assertIn(devices[0]["name"], stderr)

    def test_no_driver_at_all(self):
        # A copy of the program that has the library beside it and no software driver.
        os.mkdir(os.path.join(self.folder, "bin"))
        program = shutil.copy(PROGRAM, os.path.join(self.folder, "bin"))
        os.symlink(os.path.abspath(os.path.join(os.path.dirname(PROGRAM), "..", "lib")), os.path.join(self.folder, "lib"))
        environment = {**os.environ, "VK_DRIVER_FILES": "/nonexistent/icd.json", "RAVENWING_HOME": self.folder}
        for args in (["generate", "-m", DEMO_MODEL, "-p", "a"], ["devices"], ["doctor"]):
            done = subprocess.run([program, *args], stdin=subprocess.DEVNULL, capture_output=True, env=environment)
            stderr = done.stderr.decode()
            self.assertEqual(done.returncode, 3, stderr)
            self.assertIn("no GPU and no software Vulkan driver found", stderr)
            self.assertIn("make setup", stderr)

    def test_adapter_that_is_not_there(self):
        names = [device["name"] for device in self.run_json("devices")]
        for device in ("nosuch", "99"):
            for command in (["generate", "-p", "a"], ["perplexity", "-f", DEMO_MODEL], ["bench"]):
                self.expect_error(*command, "--device", device, status=3, words=[f"no adapter matches '{device}'", *names])

    def test_a_lower_tier_gives_the_same_text_and_is_named(self):
        flags = ("generate", "-p", "Once upon a time", "-n", "8", "--temp", "0")
        fast, slow = self.run_json(*flags), self.run_json(*flags, "--tier", "T0")
        self.assertEqual(slow["tier"], "T0")
        self.assertEqual(slow["ids"], fast["ids"])
        self.assertIn(" T0, seed ", self.run_program(*flags, "--tier", "T0")[1])

    def test_a_gpu_that_is_lost_in_long_steps(self):
        """RELIABILITY 44 and 47"""
        flags = ("generate", "-p", "There was once a king who had three sons", "-n", "3", "--temp", "0", "--exact")
        lost = {"RAVENWING_TEST_WATCHDOG": "6"}
        expected, _ = self.run_program(*flags)
        text, stderr = self.run_program(*flags, env=lost)
        self.assertEqual(text, expected)
        self.assertRegex(stderr, r"warning: .* was lost in a step of \d+ tokens; opened anew, steps have \d at most from here on\n")
        _, stderr = self.run_program(*flags, status=70, env={"RAVENWING_TEST_WATCHDOG": "1"})
        self.assertRegex(stderr, r"error: .* GPU was lost: .*--chunk")

    def test_subgroups_of_4(self):
        # What the tests kernels_subgroups_of_4 rely on.
        devices = self.run_json("devices", env={"LP_NATIVE_VECTOR_WIDTH": "128"})
        sizes = [device["limits"]["subgroup_size_max"] for device in devices if device["software"]]
        self.assertEqual(sizes, [4] * len(sizes))

    def test_more_sessions_than_the_device_has_memory_for(self):
        self.expect_error("bench", "--tier", "T0", "--batch", "4096", "-n", "2", "--repeat", "1", status=3,
                          words=["4096 sequences", "at most 1024 sequences"])


if __name__ == "__main__":
    unittest.main()
