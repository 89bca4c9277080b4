"""Runs the program under test, $RAVENWING_PROGRAM, as its users do."""
import array
import ast
import atexit
import functools
import json
import math
import os
import subprocess
import shutil
import struct
import sys
import tempfile
import unittest

PROGRAM = os.environ.get("RAVENWING_PROGRAM", "build/dev/bin/ravenwing")
ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
DEMO_MODEL = os.path.join(ROOT, "models/demo/tiny-rwkv7-Q4_K_M.gguf")
GOLDEN = os.path.join(ROOT, "tests/data/golden")
COMMANDS = ("generate", "chat", "bench", "profile", "tune", "inspect", "devices", "doctor", "tokenize", "perplexity", "logits", "embed",
            "completion", "man")

# The user's cache of compiled shaders is left alone.
CACHE = tempfile.mkdtemp(prefix="ravenwing-test-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ["RAVENWING_CACHE_DIR"] = CACHE


@functools.cache
def has_adapter():
    if subprocess.run([PROGRAM, "devices"], capture_output=True).returncode != 3:
        return True
    if os.environ.get("RAVENWING_REQUIRE_GPU"):
        sys.exit("RAVENWING_REQUIRE_GPU is set and there is no adapter")
    return False


needs_adapter = unittest.skipUnless(has_adapter(), "no adapter")


def read_npy(path):
    """(shape, values) of a float32 array in NumPy's format, version 1.0."""
    with open(path, "rb") as file:
        content = file.read()
    assert content[:8] == b"\x93NUMPY\x01\x00", content[:8]
    begin = 10 + struct.unpack("<H", content[8:10])[0]
    assert begin % 64 == 0 and content[begin - 1:begin] == b"\n", begin
    header = ast.literal_eval(content[10:begin].decode())
    assert header["descr"] == "<f4" and header["fortran_order"] is False, header
    values = array.array("f", content[begin:])
    assert len(values) == math.prod(header["shape"]), header
    return header["shape"], values


class ProgramTest(unittest.TestCase):
    def run_program(self, *args, status=0, stdin=b"", env=None):
        """(stdout, stderr) as bytes and text; standard input is a pipe."""
        environment = {**os.environ, **(env or {})}
        done = subprocess.run([PROGRAM, *args], input=stdin, capture_output=True, env=environment)
        stderr = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, status, f"{args}: {stderr}")
        self.assertRegex(stderr, r"\A(ravenwing: [^\x00-\x1f\x7f]*\n)*\Z")  # no bars, no colours
        return done.stdout, stderr

    def run_json(self, *args, **options):
        stdout, _ = self.run_program(*args, "--json", **options)

        def refuse(word):
            self.fail(f"{word} is no JSON")

        return json.loads(stdout.decode(), parse_constant=refuse)

    def expect_error(self, *args, status, words, stdin=b""):
        """The command fails with one line that has all the words, and writes no data."""
        stdout, stderr = self.run_program(*args, status=status, stdin=stdin)
        self.assertEqual(stdout, b"")
        errors = [line for line in stderr.splitlines() if line.startswith("ravenwing: error: ")]
        self.assertEqual(len(errors), 1, stderr)
        for word in words:
            self.assertIn(word, errors[0])
