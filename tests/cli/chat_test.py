#!/usr/bin/env python3
"""ravenwing chat, through pipes and on a real terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest

from program import PROGRAM, ProgramTest, needs_adapter

FLAGS = ("chat", "--exact", "--seed", "7", "-n", "10", "--temp", "1")
QUESTIONS = ("Hello", "Who was the king?", "And then?")


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *args, **env):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, *args], {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **env})

    def type(self, text):
        os.write(self.fd, text.encode())

    def read_until(self, pattern, seconds=300):
        """All that came up to a match, which begins after what was read before."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.fd, 65536) if ready else b""
            except OSError:  # the other side has gone
                data = b""
            if not data:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            self.seen += data.decode(errors="replace")
        before, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return before

    def wait(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@needs_adapter
class PipedChatTest(ProgramTest):
    def chat(self, *lines, flags=()):
        return self.run_program(*FLAGS, *flags, stdin="".join(line + "\n" for line in lines).encode())[0].decode()

    def test_saved_killed_resumed_and_forked_it_gives_equal_text(self):
        whole = self.chat(*QUESTIONS)
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "a.session")
            victim = subprocess.Popen([PROGRAM, *FLAGS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
            victim.stdin.write(f"{QUESTIONS[0]}\n/save {file}\n".encode())
            victim.stdin.flush()
            for line in victim.stderr:
                if b"saved to" in line:
                    break
            victim.send_signal(signal.SIGKILL)
            first = victim.communicate()[0].decode()
            self.assertTrue(whole.startswith(first) and first)
            self.assertEqual(first + self.chat(*QUESTIONS[1:], flags=("--resume", file)), whole)
            self.run_program("generate", "-m", file, "-p", "a", status=1)
            with open(file, "r+b") as damaged:
                damaged.truncate(os.path.getsize(file) - 1)
            self.expect_error(*FLAGS, "--resume", file, status=1, words=["a.session"])
        forked = self.chat(QUESTIONS[0], "/fork there", *QUESTIONS[1:], "/load there", *QUESTIONS[1:])
        self.assertEqual(forked, whole + whole[len(first):])
        self.assertEqual(self.chat(QUESTIONS[0], "A mistake", "/undo", *QUESTIONS[1:]).replace(
            self.chat(QUESTIONS[0], "A mistake")[len(first):], "", 1), whole)
        self.assertEqual(self.chat(*QUESTIONS, "/reset", *QUESTIONS), whole + whole)

    def test_several_lines_are_one_turn(self):
        joined = self.chat('"""One', 'two"""')
        self.assertEqual(joined, self.chat("One\\", "two"))
        self.assertNotEqual(joined, self.chat("One", "two"))

    def test_thoughts_stay_out_of_the_history(self):
        for mode in ("fake", "on"):
            with self.subTest(mode=mode):
                self.assertTrue(self.chat("Hello", flags=("--think", mode)).startswith(" <think"))

    def test_wrong_commands_end_a_pipe_with_a_message(self):
        for line, words in (("/nonsense", ["/nonsense", "/help"]), ("/save", ["/save needs a name"]),
                            ("/set top-p 2", ["top_p", "at most 1"]), ("/set nothing 1", ["no setting"]),
                            ("/load /no/such/file", ["/no/such/file"]), ("/undo", ["nothing to take back"])):
            with self.subTest(line=line):
                status = 1 if line.startswith("/load") else 2
                self.expect_error(*FLAGS, status=status, words=words, stdin=(line + "\n").encode())


@needs_adapter
class TerminalChatTest(ProgramTest):
    def test_editing_history_interrupts_and_the_end(self):
        with tempfile.TemporaryDirectory() as folder:
            history = os.path.join(folder, "state", "history")
            terminal = Terminal(*FLAGS, "--history", history)
            terminal.read_until(r"/help lists the commands")
            terminal.read_until(r"\x1b\[1;32m>\x1b\[0m ")
            terminal.type("Helxx\x7f\x7flo\r")  # two characters are taken back
            terminal.read_until(r"\n")
            first = terminal.read_until(r"\x1b\[1;32m>")
            terminal.type("/reset\r")
            terminal.read_until(r"\x1b\[1;32m>")
            terminal.type("\x1b[A\x1b[A\r")  # up, up
            terminal.read_until(r"Hello")
            terminal.read_until(r"\n")
            self.assertEqual(terminal.read_until(r"\x1b\[1;32m>"), first)
            terminal.type("/set max-tokens 100000\r")
            terminal.read_until(r"\x1b\[1;32m>")
            terminal.type("Tell me all.\r")
            terminal.read_until(r"all\.\s+\w+")
            terminal.type("\x03")
            terminal.read_until(r"\x1b\[1;32m>")
            terminal.type("/nonsense\r")
            terminal.read_until(r"no command /nonsense")
            terminal.read_until(r"\x1b\[1;32m>")
            terminal.type("\x04")
            self.assertEqual(terminal.wait(), 0)
            with open(history, encoding="utf-8") as file:
                self.assertIn("Hello\n", file.read())

    def test_no_colour_where_none_is_wanted_and_ctrl_c_at_the_prompt(self):
        terminal = Terminal(*FLAGS, "--history", "", NO_COLOR="1")
        self.assertNotIn("\x1b[1;32m", terminal.read_until(r"\n> "))
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), 130)


if __name__ == "__main__":
    unittest.main()
