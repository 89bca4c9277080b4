#!/usr/bin/env python3
"""ravenwing completion and man: every flag is in them, the shells take them, and bash completes."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from program import COMMANDS, ProgramTest


class GeneratedTest(ProgramTest):
    """What is printed, and how the tools of this machine find it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)

    def printed(self, *args):
        """(text, path of a file that holds it)"""
        path = os.path.join(self.folder.name, "-".join(args))
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(self.run_program(*args)[0])
        with open(path, encoding="ascii") as file:
            return file.read(), path

    def check(self, *command):
        """The tool has nothing to say, if this machine has it."""
        if not shutil.which(command[0]):
            return
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""), command)

    def flags(self, *command):
        """The long flags that --help of the command lists."""
        flags = re.findall(r"(?m)^  (?:-\w,)?(--[a-z-]+(?:,--[a-z-]+)*)", self.run_program(*command, "--help")[0].decode())
        self.assertIn("--help", flags)
        return ",".join(flags).split(",")

    def complete(self, *words):
        """What bash offers for the last word."""
        script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ravenwing; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", self.printed("completion", "bash")[1], "ravenwing", *words],
                              capture_output=True, text=True, check=True, cwd=self.folder.name)
        self.assertEqual(done.stderr, "")
        return sorted(done.stdout.split("\n")[:-1])

    def test_bash_completes(self):
        for words, expected in (
            (["gen"], ["generate"]),
            (["--ver"], ["--version"]),
            (["generate", "--top"], ["--top-k", "--top-p"]),
            (["generate", "--tier", ""], ["T0", "T1", "T2"]),
            (["generate", "--tier", "=", "T"], ["T0", "T1", "T2"]),
            (["generate", "--tier", "="], ["T0", "T1", "T2"]),
            (["generate", "-p", "chat", "--sampler-order", "l"], ["llama"]),
            (["chat", "--think", "br"], ["brief"]),
            (["completion", ""], ["--help", "-h", "bash", "fish", "zsh"]),
            (["generate", "-n", ""], [""]),
            (["tokenize", "--tier", "T"], [""]),
            (["bench", "sw"], ["sweep"]),
            (["bench", "--titl"], ["--title"]),
            (["bench", "sweep", "--ch"], ["--chunk"]),
            (["bench", "sweep", "--tit"], [""]),
            (["bench", "sweep", "--tier", ""], ["T0", "T1", "T2"]),
        ):
            with self.subTest(words=words):
                self.assertEqual(self.complete(*words), expected)
        self.assertEqual(self.complete(""), sorted([*COMMANDS, "--help", "-h", "--version"]))

    def test_bash_completes_files(self):
        names = ["a model.gguf", "a.gguf"]
        for name in names:
            open(os.path.join(self.folder.name, name), "wb").close()
        for words in (["generate", "-m", "a"], ["generate", "--model", "=", "a"], ["inspect", "a"], ["bench", "formats", "a"]):
            self.assertEqual(self.complete(*words), names)
        self.assertEqual(self.complete("tokenize", "a"), [""])

    def test_every_flag(self):
        for command in COMMANDS:
            flags = self.flags(command)
            self.assertLessEqual(set(flags), set(self.complete(command, "--")), command)
            zsh = re.search(rf"(?ms)^        {command}\) _arguments (.*?) ;;$", self.printed("completion", "zsh")[0])[1]
            fish = re.findall(rf"(?m)^complete -c ravenwing -n '__fish_seen_subcommand_from {command}' (.*)$",
                              self.printed("completion", "fish")[0])
            man = re.search(rf"(?ms)^\.SS ravenwing {command} (.*?)^\.S", self.printed("man")[0])[1]
            for flag in flags:
                self.assertRegex(zsh, rf"(?m)^ +'[^\[]*{flag}=?\[")
                self.assertTrue(any(f"-l {flag[2:]} " in line for line in fish), flag)
                self.assertIn(f"\\fB{flag.replace('-', chr(92) + '-')}\\fR", man)

    def test_every_flag_of_a_command_within_a_command(self):
        for outer, inner in (("bench", "sweep"), ("bench", "submits"), ("bench", "formats"), ("bench", "kernels")):
            flags = self.flags(outer, inner)
            self.assertLessEqual(set(flags), set(self.complete(outer, inner, "--")))
            zsh = re.search(rf"(?ms)^        '{outer} {inner}'\) (.*?); return ;;$", self.printed("completion", "zsh")[0])[1]
            seen = f"'__fish_seen_subcommand_from {outer}; and __fish_seen_subcommand_from {inner}'"
            fish = [line for line in self.printed("completion", "fish")[0].splitlines() if seen in line]
            man = re.search(rf"(?ms)^\.SS ravenwing {outer} {inner} (.*?)^\.S", self.printed("man")[0])[1]
            for flag in flags:
                self.assertRegex(zsh, rf"(?m)^ +'[^\[]*{flag}=?\[")
                self.assertTrue(any(f"-l {flag[2:]} " in line for line in fish), flag)
                self.assertIn(f"\\fB{flag.replace('-', chr(92) + '-')}\\fR", man)

    def test_choices(self):
        self.assertIn(":TIER:(T0 T1 T2)'", self.printed("completion", "zsh")[0])
        self.assertIn("-l tier -x -a 'T0 T1 T2' ", self.printed("completion", "fish")[0])
        self.assertIn("(one of T0, T1, T2)", self.printed("man")[0])

    def test_shells_can_read_them(self):
        for shell in ("bash", "zsh", "fish"):
            self.check(shell, "-n", self.printed("completion", shell)[1])
        if shutil.which("fish"):
            line = f"source {self.printed('completion', 'fish')[1]}; complete -C 'ravenwing chat --think br'"
            self.assertEqual(subprocess.check_output(["fish", "-c", line], text=True).split()[0], "brief")

    def test_man_page(self):
        text, path = self.printed("man")
        sections = re.findall(r"(?m)^\.SH (.*)$", text)
        self.assertEqual(sections, ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "ENVIRONMENT"])
        self.assertEqual(set(re.findall(r"(?m)^[.'](\w*)", text)), {"TH", "SH", "SS", "B", "TP", "PP", "nf", "fi"})
        self.assertRegex(text, r'\A\.TH RAVENWING 1 "[\d-]*" "ravenwing \d+\.\d+\.\d+" "User Commands"\n')
        # What follows a backslash is a font, an escaped hyphen, the empty character or the escape character itself.
        self.assertEqual(re.findall(r"\\(?!f[BIR]|-|&|e).", text), [])
        self.check("groff", "-man", "-ww", "-z", "-Tascii", path)
        self.check("mandoc", "-T", "lint", "-W", "warning", path)

    def test_unknown_shell(self):
        self.expect_error("completion", "tcsh", status=2, words=["tcsh", "bash"])
        self.expect_error("completion", status=2, words=["SHELL"])


if __name__ == "__main__":
    unittest.main()
