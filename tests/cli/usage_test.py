#!/usr/bin/env python3
"""Flags, exit statuses, messages, and standard streams that are closed or full."""
import os
import pty
import re
import signal
import subprocess
import tempfile
import textwrap
import unittest

from program import COMMANDS, DEMO_MODEL, PROGRAM, ROOT, ProgramTest, needs_adapter


class HelpTest(ProgramTest):
    def test_every_command_has_help_with_an_example(self):
        for command in COMMANDS:
            stdout, _ = self.run_program(command, "--help")
            self.assertIn(b"\nExample:\n  ravenwing " + command.encode(), stdout)

    def test_help_lists_every_command(self):
        stdout, _ = self.run_program("--help")
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ".encode(), stdout)
        self.assertIn(b"Example", stdout)

    def test_version(self):
        stdout, _ = self.run_program("--version")
        pattern = rb"\Aravenwing \d+\.\d+\.\d+ \(commit (\w+)(-dirty)?(?:, (\d{4}-\d\d-\d\d))?\)\n" \
                  rb"Compiler: \S+ \d+\..*\nBuilt for WebGPU library: \S+.*, SHA-256 ([0-9a-f]{64}|unknown)\n\Z"
        self.assertRegex(stdout, pattern)
        commit, dirty, date, _ = re.match(pattern, stdout).groups()
        git = subprocess.run(["git", "-C", ROOT, "rev-parse", "--show-prefix"], capture_output=True)
        if git.returncode != 0 or git.stdout != b"\n":
            self.assertEqual((commit, dirty, date), (b"unknown", None, None))
            return
        # Which commit HEAD was at when it was built; that may be an older one.
        shown = subprocess.run(["git", "-C", ROOT, "show", "-s", "--format=%cs", commit.decode()], capture_output=True, check=True)
        self.assertEqual(shown.stdout.strip(), date)


class BuildInfoTest(unittest.TestCase):
    """cmake/build_info.cmake in a repository made for the purpose."""

    def test_commit(self):
        with tempfile.TemporaryDirectory() as folder:
            def git(*args):
                subprocess.run(["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *args], check=True, capture_output=True)

            def commit_in(source):
                path = os.path.join(folder, "out.cpp")
                subprocess.run(["cmake", "-D", f"OUTPUT={path}", "-D", f"SOURCE_DIR={source}", "-D", "VERSION=1.2.3",
                                "-P", os.path.join(ROOT, "cmake/build_info.cmake")], check=True,
                               env={**os.environ, "GIT_CEILING_DIRECTORIES": os.path.dirname(folder)})
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                self.assertIn('.version = "1.2.3"', text)
                return re.search(r'commit = "(.*)"', text)[1], os.stat(path).st_mtime_ns

            self.assertEqual(commit_in(folder)[0], "unknown")
            git("init")
            self.assertEqual(commit_in(folder)[0], "unknown")  # no commit yet
            open(os.path.join(folder, "file"), "w").close()
            os.mkdir(os.path.join(folder, "inner"))
            git("add", "file")
            git("commit", "-m", "a")
            clean, written = commit_in(folder)
            self.assertRegex(clean, r"\A[0-9a-f]{12}\Z")
            self.assertEqual(commit_in(folder), (clean, written))  # left alone: nothing is compiled again
            self.assertEqual(commit_in(os.path.join(folder, "inner"))[0], "unknown")  # somebody else's repository
            with open(os.path.join(folder, "file"), "w") as file:
                file.write("x")
            self.assertEqual(commit_in(folder)[0], clean + "-dirty")


class ReadmeTest(ProgramTest):
    def test_the_example_is_the_one_that_is_built(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme, \
                open(os.path.join(ROOT, "examples/hello.cpp"), encoding="utf-8") as example:
            self.assertIn(textwrap.indent(example.read(), "    "), readme.read())

    def test_the_table_of_commands_is_complete(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
            self.assertEqual(tuple(re.findall(r"(?m)^\| `([a-z]+)\b[^`]*` \|", readme.read())), COMMANDS)


class UsageTest(ProgramTest):
    def test_unknown_words_name_the_nearest(self):
        for args, words in (
            (["generate", "--top_k", "5", "-p", "a"], ["--top_k", "did you mean --top-k?"]),
            (["generate", "--tempreature=1"], ["did you mean --temperature?"]),
            (["inspect", "--jsn"], ["did you mean --json?"]),
            (["genrate"], ["did you mean generate?"]),
            (["perplexty", "-f", "x"], ["did you mean perplexity?"]),
            (["tokenize", "--xyzzyx", "a"], ["unknown flag '--xyzzyx'"]),
            (["inspect", "a", "b"], ["unknown argument 'b'"]),
            ([], ["no command", "generate"]),
        ):
            with self.subTest(args=args):
                self.expect_error(*args, status=2, words=words)

    def test_no_suggestion_for_what_is_like_nothing(self):
        _, stderr = self.run_program("tokenize", "--xyzzyx", "a", status=2)
        self.assertNotIn("did you mean", stderr)

    def test_values(self):
        for args, words in (
            (["generate", "-n"], ["--max-tokens"]),
            (["generate", "-n", "many"], ["--max-tokens"]),
            (["generate", "-n", "-1", "-p", "a"], ["--max-tokens"]),
            (["generate", "-n", "1", "-n", "2"], ["--max-tokens"]),
            (["generate", "-p", "a", "-p", "b"], ["--prompt"]),
            (["generate", "-m"], ["--model"]),
            (["tokenize", "--json=maybe", "a"], ["--json"]),
            (["generate", "-p", "a", "--temp", "nan"], ["temperature"]),
            (["generate", "-p", "a", "--top-p", "1.5"], ["top_p"]),
            (["generate", "-p", "a", "--min-p", "2"], ["min_p is 2", "0 to 1"]),
            (["generate", "-p", "a", "--mirostat-tau", "-1"], ["mirostat_tau is -1", "0 to 100"]),
            (["generate", "-p", "a", "--sampler-order", "any"], ["--sampler-order"]),
            (["generate", "-p", "a", "--logit-bias", "7"], ["'7' is not ID=VALUE"]),
            (["generate", "-p", "a", "--logit-bias", "7=x"], ["'7=x' is not ID=VALUE"]),
            (["generate", "-p", "a", "--logit-bias", "7=1", "--logit-bias", "7=2"], ["id 7 twice"]),
            (["generate", "-p", "a", "--logit-bias", "7=101"], ["logit_bias of id 7 is 101", "-100 to 100"]),
            (["generate", "-p", "a", "--json", "--logprobs", "21"], ["--logprobs"]),
            (["generate", "-p", "a", "-f", "b"], ["-p", "-f"]),
            (["generate", "-p", "a", "--tier", "T9"], ["--tier", "T9"]),
            (["perplexity", "-f", DEMO_MODEL, "--chunk", "0"], ["--chunk"]),
            (["perplexity"], ["--file"]),
            (["inspect"], ["FILE"]),
            (["logits", "-p", "a"], ["--out"]),
            (["logits", "--out", "x.npy"], ["--ids"]),
            (["logits", "--ids", "1,x", "--out", "x.npy"], ["'x' is no token id"]),
        ):
            with self.subTest(args=args):
                self.expect_error(*args, status=2, words=words)

    def test_a_switch_may_be_given_twice(self):
        self.assertEqual(self.run_program("tokenize", "--json", "--json", "a"), self.run_program("tokenize", "--json", "a"))

    def test_no_prompt_on_a_terminal(self):
        terminal, stdin = pty.openpty()
        done = subprocess.run([PROGRAM, "generate"], stdin=stdin, capture_output=True)
        os.close(terminal)
        os.close(stdin)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"no prompt", done.stderr)

    @needs_adapter
    def test_device_that_is_not_there(self):
        for device in ("nosuch", "99"):
            self.expect_error("generate", "-p", "a", "--device", device, status=3, words=[device, "0: "])


class FileTest(ProgramTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def test_models_that_are_none(self):
        with open(DEMO_MODEL, "rb") as file:
            head = file.read(100_000)
        for name, content in (("short.gguf", head), ("empty.gguf", b""), ("text.gguf", b"The raven said nothing.")):
            with open(self.path(name), "wb") as file:
                file.write(content)
            self.expect_error("inspect", self.path(name), status=1, words=[name])
            self.expect_error("generate", "-m", self.path(name), "-p", "a", status=1, words=[name])

    def test_files_that_cannot_be_read(self):
        for args in (["inspect", self.path("missing")], ["generate", "-m", self.path("missing"), "-p", "a"],
                     ["generate", "-f", self.path("missing")], ["perplexity", "-f", self.path("missing")],
                     ["tokenize", "--vocab", self.path("missing"), "a"]):
            self.expect_error(*args, status=1, words=["missing", "No such file"])
        for args in (["inspect", self.folder.name], ["perplexity", "-f", self.folder.name]):
            self.expect_error(*args, status=1, words=[self.folder.name, "irectory"])

    def test_line_feed_in_a_file_name(self):
        self.expect_error("inspect", self.path("a\nb"), status=1, words=["a\\x0ab"])
        self.expect_error("perplexity", "-f", self.path("a\nb\x1b[1m"), status=1, words=["a\\x0ab\\x1b[1m"])


class StreamTest(ProgramTest):
    def shell(self, line):
        done = subprocess.run(["bash", "-c", "set -o pipefail; " + line], capture_output=True, env={**os.environ, "P": PROGRAM})
        return done.returncode, done.stdout, done.stderr.decode()

    def test_reader_that_goes_away(self):
        # More than a pipe holds, so that writing must fail.
        status, stdout, stderr = self.shell("head -c 300000 /dev/zero | \"$P\" tokenize - | head -c 4")
        self.assertEqual((status, stdout, stderr), (0, b"1 1 ", ""))
        for args in ("--help", "--version", "generate --help", "man", "completion bash"):
            self.assertEqual(self.shell(f"sleep 0.2 | \"$P\" {args} | true"), (0, b"", ""), args)

    @needs_adapter
    def test_reader_that_goes_away_from_a_story(self):
        status, stdout, stderr = self.shell("\"$P\" generate -p Once -n 400 --temp 0 | head -c 4")
        self.assertEqual((status, len(stdout)), (0, 4))
        self.assertNotIn("error", stderr)

    def test_closed_and_full_streams(self):
        for line, words in (("\"$P\" tokenize hello >&-", "cannot write"), ("\"$P\" --help >&-", "cannot write"),
                            ("\"$P\" tokenize hello >/dev/full", "No space left"),
                            ("\"$P\" tokenize - <&-", "cannot read standard input"),
                            ("\"$P\" generate <&-", "cannot read standard input"),
                            ("\"$P\" perplexity -f - <&-", "cannot read standard input")):
            with self.subTest(line=line):
                status, _, stderr = self.shell(line)
                self.assertEqual(status, 1)
                self.assertIn("ravenwing: error: cannot ", stderr)
                self.assertIn(words, stderr)

    def test_closed_standard_error(self):
        status, stdout, _ = self.shell("\"$P\" tokenize hello 2>&-")
        self.assertEqual((status, stdout), (0, self.run_program("tokenize", "hello")[0]))
        self.assertEqual(self.shell("\"$P\" tokenize --nosuch 2>&-")[0], 2)

    def test_interrupted_while_reading(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with subprocess.Popen([PROGRAM, "tokenize", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as process:
                # More than a pipe holds: once all is written, the program reads.
                process.stdin.write(b"a" * 200_000)
                process.stdin.flush()
                process.send_signal(number)
                self.assertEqual(process.wait(timeout=30), 130)
                self.assertEqual(process.stdout.read(), b"")
                self.assertEqual(process.stderr.read(), b"ravenwing: interrupted\n")


if __name__ == "__main__":
    unittest.main()
