#!/usr/bin/env python3
"""ravenwing tune: what it measures and keeps, that a wrong kernel is never chosen, and that a file cannot do harm."""
import glob
import os
import tempfile
import unittest

from program import ROOT, ProgramTest, needs_adapter

WGSL = os.path.join(ROOT, "src/kernels/wgsl")
TUNE = ("tune", "--quick", "--device", "software", "--only", "product:F16:256x")
GENERATE = ("generate", "-p", "Once upon a time", "-n", "3", "--temp", "0", "--device", "software")


class Tuned(ProgramTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = {"RAVENWING_CACHE_DIR": os.path.join(self.folder, "cache")}

    def tuning_file(self):
        paths = [path for path in glob.glob(os.path.join(self.folder, "cache/tuning/*")) if not path.endswith(".lock")]
        self.assertEqual(len(paths), 1, paths)
        return paths[0]

    def lines(self):
        with open(self.tuning_file(), encoding="utf-8") as file:
            return file.read().splitlines()


@needs_adapter
class TuneTest(Tuned):
    def test_measures_keeps_and_is_believed(self):
        report = self.run_json(*TUNE, "--columns", "1", env=self.env)
        self.assertEqual(report["file"], self.tuning_file())
        self.assertFalse(report["cancelled"])
        self.assertEqual([shape["shape"] for shape in report["shapes"]], ["product:F16:256x512:1"])
        shape = report["shapes"][0]
        self.assertEqual(shape["reason"], "")
        self.assertTrue(0 < shape["us"] <= shape["default_us"], shape)
        self.assertTrue(shape["choice"] == "default" or shape["us"] <= 0.97 * shape["default_us"], shape)
        self.assertIn("default", [reading["candidate"] for reading in report["readings"]])
        self.assertGreater(len(report["readings"]), 2)
        lines = self.lines()
        self.assertEqual((lines[0], lines[-1]), ("ravenwing tuning 1", "end"))
        self.assertIn("; driver ", lines[1])
        self.assertEqual(lines[2].split()[:2], [shape["shape"], shape["choice"]])

        self.check_foreign_files(lines)

    def check_foreign_files(self, lines):
        """The text is the same whatever the file says; one warning says so where it was not believed."""
        expected = self.run_json(*GENERATE, "--no-tuning", env=self.env)["text"]
        forged = ["product:Q4_K:512x512:1 tile:64/64/64/64/64/64 2 1", "product:Q4_K:1536x512:1 vec:workgroup:8:99:7 2 1",
                  "chunk:6x512x2048 4000000000 2 1", "time_mix:512/64:1x4 tokens 2 1"]
        for text, warning in ((lines[:2] + forged + ["end"], "which were ignored"), (lines[:-1], "is damaged"), (lines, None)):
            with open(self.tuning_file(), "w", encoding="utf-8") as file:
                file.write("\n".join(text) + "\n")
            stdout, stderr = self.run_program(*GENERATE, env=self.env)
            self.assertEqual(stdout.decode().strip().removeprefix("Once upon a time").strip(), expected.strip())
            warnings = [line for line in stderr.splitlines() if "warning" in line]
            self.assertEqual(len(warnings), 0 if warning is None else 1, stderr)
            if warning:
                self.assertIn(warning, warnings[0])

    def test_bad_flags(self):
        self.expect_error("tune", "--columns", "3", status=2, words=["3 columns", "power of two"])
        self.expect_error("tune", "-m", "/nowhere/model.gguf", status=1, words=["/nowhere/model.gguf"])
        self.expect_error("tune", "--synthetic", "2.9b:q4", status=2, words=["q4"])


@needs_adapter
class WrongKernelTest(Tuned):
    def test_a_wrong_kernel_is_never_chosen(self):
        shaders = os.path.join(self.folder, "shaders")
        os.mkdir(shaders)
        with open(os.path.join(WGSL, "matmul_mat.wgsl"), encoding="utf-8") as file:
            text = file.read()
        wrong = text.replace("store_output(segment, ", "store_output(segment, 0u * ", 1)
        self.assertNotEqual(text, wrong)
        with open(os.path.join(shaders, "matmul_mat.wgsl"), "w", encoding="utf-8") as file:
            file.write(wrong)
        report = self.run_json(*TUNE, "--columns", "4", "--tier", "T0", env={**self.env, "RAVENWING_SHADER_DIR": shaders})
        rejected = {reading["candidate"]: reading["rejected"] for reading in report["readings"]}
        self.assertIn("wrong numbers", rejected["mat"])
        self.assertEqual({reason for name, reason in rejected.items() if name != "mat"}, {"", "the same as the default"})
        self.assertNotEqual(report["shapes"][0]["choice"], "mat")


if __name__ == "__main__":
    unittest.main()
