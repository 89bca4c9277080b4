#!/usr/bin/env python3
"""What `cmake --install` makes of the release build: a tree that can be moved, and a library that others can link.

usage: install_test.py BUILD_FOLDER
Exit status 77, "skipped", where it was not built, unless RAVENWING_REQUIRE_RELEASE is set.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from locales import make_turkish_locale

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MESA = os.path.join(ROOT, "third_party/mesa")
CMAKE = os.environ.get("CMAKE", "cmake")
CHAT = "Hello\nWho are you?\n/back\n/back\nHello\n"  # for examples/chat.cpp


def environment():
    """As a stranger has it, but for a software driver, which is not installed with the rest."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "CXX", "LANG") if name in os.environ}
    if not os.path.exists(os.path.join(MESA, "lvp_icd.json")):
        return kept
    return {**kept, "VK_DRIVER_FILES": os.path.join(MESA, "lvp_icd.json"), "LD_LIBRARY_PATH": os.path.join(MESA, "lib")}


def run(*command, cwd="/", env=None, text=""):
    done = subprocess.run(command, cwd=cwd, env={**environment(), **(env or {})}, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.first = os.path.join(cls.folder.name, "first")
        run(CMAKE, "--install", BUILD, "--prefix", cls.first)
        cls.tree = os.path.join(cls.folder.name, "moved – für alle")
        os.rename(cls.first, cls.tree)
        cls.program = os.path.join(cls.tree, "bin/ravenwing")

    def paths(self, folder=""):
        top = os.path.join(self.tree, folder)
        return sorted(os.path.relpath(os.path.join(at, name), top) for at, _, names in os.walk(top) for name in names)

    def read(self, path):
        with open(os.path.join(self.tree, path), encoding="utf-8") as file:
            return file.read()

    def needs_adapter(self):
        if subprocess.run([self.program, "devices"], capture_output=True, env=environment()).returncode == 3:
            self.assertNotIn("RAVENWING_REQUIRE_GPU", os.environ, "there is no adapter")
            self.skipTest("no adapter")

    def test_files(self):
        self.assertEqual(self.paths("bin"), ["ravenwing"])
        self.assertEqual(self.paths("include/ravenwing"), sorted(os.listdir(os.path.join(ROOT, "include/ravenwing"))))
        self.assertEqual(self.paths("include"), [os.path.join("ravenwing", name) for name in self.paths("include/ravenwing")])
        libraries = [name for name in self.paths("lib") if "/" not in name]
        self.assertEqual(len(libraries), 4)  # ours with two links, WebGPU
        self.assertIn("libravenwing.so", libraries)
        for path in ("man/man1/ravenwing.1", "bash-completion/completions/ravenwing", "zsh/site-functions/_ravenwing",
                     "fish/vendor_completions.d/ravenwing.fish", "ravenwing/models/demo/tiny-rwkv7-Q4_K_M.gguf",
                     "ravenwing/LICENSE", "ravenwing/NOTICE"):
            self.assertGreater(os.path.getsize(os.path.join(self.tree, "share", path)), 100, path)
        self.assertEqual([path for path in self.paths() if "mesa" in path or "lvp" in path], [])
        for at, folders, names in os.walk(self.tree):
            for path in (os.path.join(at, name) for name in folders + names):
                if os.path.islink(path):
                    self.assertNotIn("/", os.readlink(path))

    def test_public_headers(self):
        headers = self.paths("include/ravenwing")
        for name in headers:
            text = self.read("include/ravenwing/" + name)
            self.assertNotRegex(text, r"(?i)wgpu::|webgpu/|nlohmann|fmt/", name)
            if name == "ravenwing.hpp":
                self.assertEqual(re.findall(r'#include "(.*)"', text), [f"ravenwing/{other}" for other in headers if other != name])
                continue
            # A header without this compiles, and its functions are missing from the library.
            self.assertIn("\n#pragma GCC visibility push(default)", text, name)

    def test_nothing_names_the_place_where_it_was(self):
        texts = [path for path in self.paths() if not re.search(r"\.so|\.gguf$|^bin/", path)]
        self.assertIn("lib/cmake/Ravenwing/RavenwingTargets.cmake", texts)
        for path in texts:
            for place in (ROOT, self.folder.name):
                self.assertNotIn(place, self.read(path), path)
        # No requirement of a static library that is inside of ours.
        package = self.read("lib/cmake/Ravenwing/RavenwingTargets.cmake") + self.read("lib/cmake/Ravenwing/RavenwingConfig.cmake")
        self.assertNotRegex(package, r"find_dependency|find_package|INTERFACE_LINK_LIBRARIES")

    def test_version(self):
        stdout, stderr = run(self.program, "--version", env={"LD_DEBUG": "libs"})
        self.assertRegex(stdout, r"\Aravenwing \d+\.\d+\.\d+ \(commit ")
        loaded = re.findall(r"calling init: (/\S.*(?:liblitert-lm|libwebgpu_dawn)\.so)", stderr)
        self.assertEqual([os.path.dirname(os.path.realpath(path)) for path in loaded], [os.path.join(self.tree, "lib")])

    def test_program(self):
        self.needs_adapter()
        result = json.loads(run(self.program, "generate", "-p", "Once upon a time", "-n", "4", "--json")[0])
        self.assertEqual(len(result["ids"]), 4)
        self.assertEqual(os.path.realpath(result["model"]),
                         os.path.join(self.tree, "share/ravenwing/models/demo/tiny-rwkv7-Q4_K_M.gguf"))

    def test_program_through_a_link(self):
        link = os.path.join(self.folder.name, "rw")
        os.symlink(self.program, link)
        self.assertTrue(json.loads(run(link, "inspect", "--json", os.path.join(self.tree, "share/ravenwing/models/demo/tiny-rwkv7-Q4_K_M.gguf"))[0]))

    def test_library(self):
        """The CMake lines of README.md with its example, and a program that looks at what passes between the two."""
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
            lines = re.search(r"(?m)^    cmake_minimum_required(?:.*\n)(?:    .*\n)+", readme.read())[0].replace("\n    ", "\n").lstrip()
        self.assertIn("find_package(Ravenwing", lines)
        source = os.path.join(self.folder.name, "consumer")
        os.mkdir(source)
        shutil.copy(os.path.join(ROOT, "examples/hello.cpp"), source)
        shutil.copy(os.path.join(ROOT, "tests/cli/consumer.cpp"), source)
        with open(os.path.join(source, "CMakeLists.txt"), "w", encoding="utf-8") as file:
            file.write(lines + "add_executable(consumer consumer.cpp)\ntarget_link_libraries(consumer PRIVATE Ravenwing::ravenwing)\n")
        build = os.path.join(source, "build")
        _, warnings = run(CMAKE, "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.tree}")
        self.assertEqual(warnings, "")
        stdout, _ = run(CMAKE, "--build", build)
        self.assertNotIn("warning", stdout)
        self.needs_adapter()
        self.assertGreater(len(run(os.path.join(build, "hello"))[0].split()), 10)
        self.assertEqual(run(os.path.join(build, "consumer"), env=make_turkish_locale(source))[0], "ok\n")

    def test_examples(self):
        """Those of examples/ that the README does not show, built as a project of their own."""
        source = os.path.join(self.folder.name, "examples")
        shutil.copytree(os.path.join(ROOT, "examples"), source)
        build = os.path.join(source, "build")
        run(CMAKE, "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.tree}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        names = {name[:-len(".cpp")] for name in os.listdir(source) if name.endswith(".cpp")} - {"hello"}
        self.assertGreaterEqual(names, {"batch", "chat", "embed", "state"})
        run(CMAKE, "--build", build, "--target", *names)
        self.needs_adapter()
        chat = (os.path.join(self.tree, "share/ravenwing/models/demo/tiny-rwkv7-Q4_K_M.gguf"), "12")
        outputs = {name: run(os.path.join(build, name), *(chat if name == "chat" else ()), cwd=build, text=CHAT)[0] for name in names}
        self.assertRegex(outputs["batch"], r"\A\.\.\. girl.+\n(?s:.*)\.\.\. dog.+\n(?s:.*)\.\.\. robot.+")
        # A turn that was taken back leaves no trace.
        first, second, again, _ = outputs["chat"].split("\n> ")
        self.assertEqual(again, "> > " + first.removeprefix("> "))
        self.assertNotIn(second, (first, again))
        pairs = [line.split("  ")[1:] for line in outputs["embed"].splitlines()]
        self.assertEqual([nearest for _, nearest in pairs], [pairs[i ^ 1][0] for i in range(6)])
        self.assertRegex(outputs["state"], r"\A6 layers of 8 heads, 196608 values\nThe ball was .+\nThe dog was .+\nThen Lily .+\n\Z")

    def test_wrong_version_is_refused(self):
        script = os.path.join(self.folder.name, "find.cmake")
        with open(script, "w", encoding="utf-8") as file:
            file.write("set(PACKAGE_FIND_VERSION 9.0)\nset(PACKAGE_FIND_VERSION_MAJOR 9)\nset(PACKAGE_FIND_VERSION_MINOR 0)\n"
                       f'include("{self.tree}/lib/cmake/Ravenwing/RavenwingConfigVersion.cmake")\n'
                       'if(PACKAGE_VERSION_COMPATIBLE)\n  message(FATAL_ERROR "9.0 is said to be here")\nendif()\n')
        run(CMAKE, "-P", script)


if __name__ == "__main__":
    BUILD = os.path.abspath(sys.argv.pop(1))
    for built in ("bin/ravenwing", "lib/libravenwing.so"):
        if not os.path.exists(os.path.join(BUILD, built)):
            print(f"{BUILD}/{built} is not built: make build")
            sys.exit(1 if os.environ.get("RAVENWING_REQUIRE_RELEASE") else 77)
    unittest.main()
