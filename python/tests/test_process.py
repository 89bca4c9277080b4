"""What ends: Ctrl-C, fork, the interpreter itself. Each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

from conftest import run_python

OPEN = "import os, ravenwing\nmodel = ravenwing.Model(max_sessions=3, chunk=16, pipeline_cache=False)\n"


def interrupt(program: str) -> subprocess.CompletedProcess[str]:
    """Sends SIGINT once the program says that it is ready."""
    with subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=120)
        return subprocess.CompletedProcess(program, child.returncode, out, errors)


def test_ctrl_c_in_every_kind_of_call():
    program = OPEN + """
import signal, threading, time

def interrupted(call):
    # As a terminal does, a moment after the call began.
    threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    try:
        call()
    except KeyboardInterrupt:
        assert time.monotonic() - begin < 60
        return True
    return False

session = model.session()
long = dict(max_tokens=1_000_000, stop_tokens=[])
print(interrupted(lambda: model.generate("The", **long)), flush=True)
print(interrupted(lambda: model.generate(["The", "A"], **long)), flush=True)
print(interrupted(lambda: session.generate("The", **long)), flush=True)
print(interrupted(lambda: session.feed([5] * 1_000_000)), flush=True)
print(interrupted(lambda: [None for _ in session.generate("The", stream=True, **long)]), flush=True)
print(interrupted(lambda: model.embed_batch([[5] * 200] * 4000, cache=False)), flush=True)
print(interrupted(lambda: model.score([[5] * 100_000])), flush=True)
session.reset()
print(session.generate("The", max_tokens=2, seed=1).ids == model.generate("The", max_tokens=2, seed=1).ids)
"""
    done = run_python(program)
    assert done.stdout.split() == ["True"] * 8, done.stdout + done.stderr
    assert done.returncode == 0


def test_ctrl_c_that_nobody_catches():
    done = interrupt(OPEN + "print('ready')\nmodel.generate('The', max_tokens=1_000_000, stop_tokens=[])")
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr, done.stderr


def test_fork():
    program = OPEN + """
import warnings
warnings.simplefilter("ignore")
session = model.session()
stream = model.generate("The", max_tokens=20, stop_tokens=[], stream=True)
next(stream)
child = os.fork()
if child == 0:
    codes = []
    for use in (lambda: model.generate("a"), lambda: session.feed("a"), lambda: next(stream), model.close, session.fork):
        try:
            use()
        except ravenwing.Error as error:
            codes.append(error.code)
    assert model.tokenize("a")
    del stream, session, model
    raise SystemExit(0 if codes == ["closed"] * 5 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(len(stream.completion.ids), bool(model.generate("a", max_tokens=1).ids))
"""
    done = run_python(program)
    assert done.stdout.split() == ["0", "20", "True"], done.stdout + done.stderr
    assert done.returncode == 0


def test_end_of_the_interpreter_with_all_alive():
    program = OPEN + """
import atexit, threading
session = model.session()
session.feed("The")
state = session.state
stream = model.generate("The", max_tokens=1_000_000, stop_tokens=[], stream=True)
next(stream)

def late():
    try:
        session.generate("The", max_tokens=1_000_000, stop_tokens=[])
    except ravenwing.Error as error:
        os.write(1, error.code.encode() + b" ")

threading.Thread(target=late, daemon=True).start()
atexit.register(lambda: os.write(1, b"bye "))
model.cycle = [model, stream, session]
"""
    done = run_python(program)
    assert done.returncode == 0 and "bye" in done.stdout, (done.returncode, done.stdout, done.stderr)
    assert not done.stderr, done.stderr


def test_use_in_atexit():
    program = """
import atexit

@atexit.register  # before the import, so after the library's own
def late():
    try:
        model.generate("a")
    except ravenwing.ClosedError as error:
        print(error.code)
""" + OPEN
    done = run_python(program)
    assert done.stdout.split() == ["closed"] and done.returncode == 0, done.stdout + done.stderr
