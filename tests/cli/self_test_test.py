#!/usr/bin/env python3
"""Kernels that are wrong or do not compile are found and replaced (RELIABILITY rows 45, 46): shaders with a fault in them, on
the software driver, which reaches T1 and compiles each of them for seconds: faults are where few shaders have them."""
import glob
import json
import os
import subprocess
import tempfile
import unittest

from program import PROGRAM, ROOT, ProgramTest, needs_adapter

WGSL = os.path.join(ROOT, "src/kernels/wgsl")
GENERATE = ("generate", "-p", "Once upon a time", "-n", "6", "--temp", "0", "--device", "software")


def has_t1_software():
    devices = json.loads(subprocess.run([PROGRAM, "devices", "--json"], capture_output=True).stdout or "[]")
    return any(device["software"] and device["tier"] == "T1" for device in devices)


class SelfTestTest(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = {"RAVENWING_SELF_TEST": "always", "RAVENWING_CACHE_DIR": os.path.join(self.folder, "cache"),
                    "RAVENWING_SHADER_DIR": os.path.join(self.folder, "shaders")}
        os.mkdir(self.env["RAVENWING_SHADER_DIR"])

    def spoil(self, name, old, new):
        with open(os.path.join(WGSL, name), encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(os.path.join(self.env["RAVENWING_SHADER_DIR"], name), "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def generate(self, *flags, **variables):
        return self.run_json(*GENERATE, *flags, env={**self.env, **variables})

    def verdict_file(self):
        paths = [path for path in glob.glob(os.path.join(self.folder, "cache/self-test/*")) if not path.endswith(".lock")]
        self.assertEqual(len(paths), 1, paths)
        return paths[0]

    def verdicts(self):
        with open(self.verdict_file(), encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("ravenwing self-test 1", "end"))
        return lines[2:-1]


@needs_adapter
@unittest.skipUnless(has_t1_software(), "no software driver that reaches T1")
class WrongKernelTest(SelfTestTest):
    def test_right_kernels_stay(self):
        result = self.generate()
        self.assertEqual((result["tier"], result["fallback"], result["validated"]), ("T1", "", True))
        self.assertEqual(self.verdicts(), ["T1-fast-checked good"])

    def test_wrong_numbers(self):
        self.spoil("reduce_subgroup.wgsl", "subgroupAdd(values[$S]);", "subgroupAdd(values[$S]) * 1.25;")
        right = self.run_json(*GENERATE, "--tier", "T0")
        wrong = self.generate("--tier", "T1", RAVENWING_SELF_TEST="never")  # as asked for, untested
        self.assertEqual((wrong["tier"], wrong["fallback"]), ("T1", ""))
        stdout, stderr = self.run_program(*GENERATE, "--json", env=self.env)
        self.assertRegex(stderr, r"warning: llvmpipe.*: T1 gave wrong numbers \(logits .*\): T0 is used")
        first = json.loads(stdout)
        self.assertEqual((first["tier"], first["text"], first["ids"]), ("T0", right["text"], right["ids"]))
        self.assertRegex(first["fallback"], r"\AT1 gave wrong numbers \(.*\): T0 is used\Z")
        self.assertRegex("\n".join(self.verdicts()), r"\AT0-fast-checked good\nT1-fast-checked bad gave wrong numbers \(.*\)\Z")

        # The second start takes the verdict as it is: it writes nothing.
        written = os.stat(self.verdict_file()).st_mtime_ns
        again = self.generate()
        self.assertEqual((again["tier"], again["fallback"]), ("T0", first["fallback"]))
        self.assertEqual(os.stat(self.verdict_file()).st_mtime_ns, written)

        self.check_foreign_verdicts(first["fallback"])
        self.check_ended_test()
        self.check_doctor()

        # Other shaders are another matter.
        os.remove(os.path.join(self.env["RAVENWING_SHADER_DIR"], "reduce_subgroup.wgsl"))
        self.assertEqual(self.generate()["tier"], "T1")

    def check_foreign_verdicts(self, fallback):
        whole = self.verdicts()
        with open(self.verdict_file(), "wb") as file:
            file.write(b"ravenwing self-test 1\nanother driver\nT1-fast-checked good\nend\n")
        self.assertEqual(self.generate()["fallback"], fallback)
        self.assertEqual(self.verdicts(), whole)

    def check_ended_test(self):
        """A test that began and of which nobody knows the end: its driver may have taken the process down."""
        path = self.verdict_file()
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines[:2], "T0-fast-checked good", "T1-fast-checked testing", "end", ""]))
        self.assertEqual(self.generate()["fallback"], "T1 ended the program that tested it: T0 is used")
        self.assertIn("T1-fast-checked bad ended the program that tested it", self.verdicts())

    def check_doctor(self):
        """It tests again, whatever is known, and writes down what it finds."""
        stdout, stderr = self.run_program("doctor", "--device", "software", status=1, env=self.env)
        report = stdout.decode()
        self.assertIn("\nSelf-test passed: T0 on llvmpipe", report)
        self.assertRegex(report, r"\nSelf-test FAILED: T1 .* gave wrong numbers \(logits ")
        self.assertIn("\nSelf-test left out: T2 ", report)
        self.assertIn("the self-test failed", stderr)
        self.assertRegex("\n".join(self.verdicts()), r"\AT0-fast-checked good\nT1-fast-checked bad gave wrong numbers")

    def test_shader_that_does_not_compile(self):
        self.spoil("act_f16.wgsl", "alias Act = f16;", "alias Act = half;")
        first = self.generate()
        self.assertEqual(first["tier"], "T0")
        self.assertRegex(first["fallback"], r"\AT1 does not compile \(.*\): T0 is used\Z")
        self.assertIn("T0-fast-checked good", self.verdicts())
        # Without a test it is found when the model is loaded.
        untested = self.generate(RAVENWING_SELF_TEST="")
        self.assertEqual((untested["tier"], untested["fallback"], untested["ids"]), ("T0", first["fallback"], first["ids"]))
        self.assertIn("tier T1 does not compile", self.run_program(*GENERATE, "--tier", "T1", status=1, env=self.env)[1])

    def test_no_tier_is_right(self):
        self.spoil("layer_norm.wgsl", "row[i] * scale", "row[i] + scale")
        for _ in range(2):
            _, stderr = self.run_program(*GENERATE, status=1, env=self.env)
            for words in ("no tier of this adapter can be used: T1 gave wrong numbers", ", T0 gave wrong numbers", "--device"):
                self.assertIn(words, stderr)
        self.assertEqual([line.split(" bad ")[0] for line in self.verdicts()], ["T0-fast-checked", "T1-fast-checked"])

    def test_variable(self):
        self.env["RAVENWING_SELF_TEST"] = "sometimes"
        _, stderr = self.run_program(*GENERATE, status=2, env=self.env)
        self.assertIn("RAVENWING_SELF_TEST is 'sometimes': must be always, never or empty", stderr)
        self.generate(RAVENWING_SELF_TEST="")  # software
        self.assertFalse(os.path.exists(os.path.join(self.folder, "cache/self-test")))


if __name__ == "__main__":
    unittest.main()
