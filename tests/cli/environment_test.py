#!/usr/bin/env python3
"""What surrounds the program: locales, environment variables, file names with blanks and of other scripts."""
import json
import os
import subprocess
import tempfile
import unittest

from locales import make_turkish_locale
from program import DEMO_MODEL, PROGRAM, ProgramTest, needs_adapter

# Loaded into the program before it runs: it then lives in the user's locale, as it would if a library of its asked for it.
FOLLOW_LOCALE = """#include <locale.h>
#include <stdlib.h>
__attribute__((constructor)) static void follow(void) {
  if (!setlocale(LC_ALL, "") || localeconv()->decimal_point[0] != ',') _Exit(99);
}
"""


class LocaleTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        turkish = make_turkish_locale(cls.folder.name)
        source, library = (os.path.join(cls.folder.name, name) for name in ("follow.c", "follow.so"))
        with open(source, "w", encoding="ascii") as file:
            file.write(FOLLOW_LOCALE)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", source, "-o", library], check=True)
        cls.locales = {"POSIX": {"LC_ALL": "POSIX"}, "not installed": {"LC_ALL": "xx_YY.UTF-8"}, "Turkish": turkish,
                       "Turkish, followed": {**turkish, "LD_PRELOAD": library}}

    def same_everywhere(self, *args, stdin=b"", status=0):
        expected = self.run_program(*args, stdin=stdin, status=status, env={"LC_ALL": "C"})
        for name, variables in self.locales.items():
            with self.subTest(locale=name, args=args):
                self.assertEqual(self.run_program(*args, stdin=stdin, status=status, env=variables), expected)
        return expected

    def test_numbers_and_json(self):
        self.same_everywhere("inspect", DEMO_MODEL, "--json")
        self.same_everywhere("inspect", DEMO_MODEL)
        self.same_everywhere("tokenize", "-", "--json", stdin="İstanbul ılık 0,5".encode())
        self.same_everywhere("TOKENIZE", "a", status=2)
        self.assertIn("did you mean inspect", self.same_everywhere("İnspect".encode("iso8859-9"), status=2)[1])

    def test_flags(self):
        for args, words in ((("--top-p", "1.5"), "top_p is 1.5, must be"), (("--temperature", "0,8"), "--temperature = 0,8"),
                            (("--logit-bias", "7=0,5"), "'7=0,5' is not ID=VALUE"), (("--min-p", "1e1"), "min_p is 10, must")):
            self.assertIn(words, self.same_everywhere("generate", "-p", "a", *args, status=2)[1])

    @needs_adapter
    def test_models(self):
        flags = ("generate", "-p", "Once upon a time", "-n", "2", "--exact", "--seed", "3", "--top-p", "0.25", "--logprobs", "2")
        plain, followed = (self.run_json(*flags, env=env) for env in ({"LC_ALL": "C"}, self.locales["Turkish, followed"]))
        for key in ("ids", "logprobs", "text"):
            self.assertEqual(followed[key], plain[key])
        self.assertIsInstance(followed["timings"]["load_ms"], float)
        stdout, _ = self.run_program("perplexity", "-f", "-", stdin=b"Once upon", env=self.locales["Turkish, followed"])
        self.assertRegex(stdout, rb"\A\d+\.\d+ nats/token, perplexity \d+\.\d+, \d+\.\d+ bits/byte")


class VariableTest(ProgramTest):
    """Variables that name nothing, or something of another kind."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "file")
        open(self.file, "wb").close()

    @needs_adapter
    def test_home(self):
        for home in (self.file, "relative\n", "x" * 5000):
            with self.subTest(home=home[:20]):
                tokens = self.run_json("generate", "-p", "a", "-n", "1", env={"RAVENWING_HOME": home})["ids"]
                self.assertEqual(len(tokens), 1)

    @needs_adapter
    def test_history_has_no_place(self):
        cache = {"XDG_CACHE_HOME": os.path.expanduser("~/.cache")}  # the driver's, which would complain
        for variables in ({"XDG_STATE_HOME": self.file}, {"XDG_STATE_HOME": "", "HOME": self.file}):
            stdout, _ = self.run_program("chat", "-n", "1", stdin=b"Hello\n", env={**cache, **variables})
            self.assertTrue(stdout.endswith(b"\n"))
        self.assertEqual(os.listdir(self.folder.name), ["file"])

    def test_drivers_that_are_none(self):
        variables = {"VK_DRIVER_FILES": self.file, "VK_ICD_FILENAMES": self.file, "RAVENWING_HOME": self.file}
        done = subprocess.run([PROGRAM, "devices"], capture_output=True, text=True, env={**os.environ, **variables})
        self.assertIn(done.returncode, (0, 3), done.stderr)  # 0: the driver beside the program stands in
        if done.returncode == 3:
            self.assertIn("no GPU and no software Vulkan driver", done.stderr)


class PathTest(ProgramTest):
    NAMES = ("two  blanks.gguf", "ворон – ı İ 渡鸦.gguf", "quote's \"$HOME\" \\ *.gguf", "-m.gguf")

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ein Ordner für ")
        self.addCleanup(self.folder.cleanup)

    def model(self, name):
        path = os.path.join(self.folder.name, name)
        os.symlink(DEMO_MODEL, path)
        return path

    def test_inspect_and_tokenize(self):
        for name in self.NAMES:
            path = self.model(name)
            self.assertEqual(self.run_json("inspect", path)["n_layer"], 6)
            self.assertEqual(self.run_json("tokenize", "-m", path, "Once upon a time")["ids"], [2397, 3662, 286, 3631])
            error = self.run_program("inspect", path + " missing", status=1)[1]
            self.assertIn(" missing", error)
            if "quote" not in name:  # those are escaped
                self.assertIn(path, error)

    def test_bytes_that_are_no_text(self):
        path = os.path.join(os.fsencode(self.folder.name), b"\xff\xfe.gguf")
        os.symlink(DEMO_MODEL, path)
        self.assertEqual(self.run_json("inspect", path)["n_layer"], 6)
        self.run_program("inspect", path + b"x", status=1)

    @needs_adapter
    def test_reading_and_writing(self):
        path = self.model(self.NAMES[1])
        prompt, out, states = (os.path.join(self.folder.name, name) for name in ("ein Text.txt", "число 1.npy", "états d'âme"))
        with open(prompt, "w", encoding="utf-8") as file:
            file.write("Once upon a time")
        result = self.run_json("generate", "-m", path, "-f", prompt, "-n", "1")
        self.assertEqual((result["model"], len(result["ids"])), (path, 1))
        self.run_program("logits", "-m", path, "-p", "a", "--out", out, "--state-out", states)
        self.assertEqual(sorted(os.listdir(states)), ["channel_shift.npy", "time_shift.npy", "wkv.npy"])
        self.assertGreater(os.path.getsize(out), 8192 * 4)


if __name__ == "__main__":
    unittest.main()
