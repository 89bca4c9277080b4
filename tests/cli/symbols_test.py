#!/usr/bin/env python3
"""What the released program and library need of a machine and what they show to the libraries in their process.

usage: symbols_test.py PROGRAM LIBRARY
The WebGPU library exports 218 000 symbols (zstd, zlib, absl, operator new among them). A program that takes one of them
for its own, or exports one that the library then takes, fails far from here; so none may pass either way.
Exit status 77, "skipped", where they were not built, unless RAVENWING_REQUIRE_RELEASE is set.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

GLIBC = r"lib(c|m|dl|rt|pthread)\.so\.\d+|ld-linux-[\w-]+\.so\.\d+"
WEBGPU = r"liblitert-lm\.so|libwebgpu_dawn\.so"
# Weak references of every program: the profiler's hook and transactional memory, found nowhere in practice.
WEAK = r"__gmon_start__|__cxa_finalize|_ITM_\w+|_ZGTt\w+"
# The library shares these with its user, as exceptions pass between them.
RUNTIME = r"libstdc\+\+\.so\.6|libgcc_s\.so\.1"
# Functions and methods, and what exceptions and dynamic_cast know of a class, of namespace ravenwing.
PUBLIC = r"_ZNK?9ravenwing\w+|_ZT[ISV]N9ravenwing\w+"


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def foreign_folders(dynamic):
    for path in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic):
        yield from (f"looks for libraries in {folder!r}" for folder in path.split(":") if not folder.startswith("$ORIGIN"))


def faults_of(program):
    faults = []
    dynamic = output_of("readelf", "-d", program)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    faults += [f"needs {name}" for name in needed if not re.fullmatch(f"{GLIBC}|{WEBGPU}", name)]
    faults += foreign_folders(dynamic)

    for line in output_of("nm", "-D", program).splitlines():
        kind, name = line[17:].split(" ", 1)  # after the address
        from_glibc = re.search(r"@+GLIBC_(\d|PRIVATE|ABI)", name)
        if kind == "U" and not from_glibc and not re.fullmatch(r"wgpu[A-Z]\w*", name):
            faults.append(f"takes {name} from a library")
        if kind in "wv" and not from_glibc and not re.fullmatch(WEAK, name):
            faults.append(f"takes {name} from a library, if there")
        if kind not in "Uwv" and not from_glibc:  # glibc's own variables (stderr) are copied into every program
            faults.append(f"exports {name}")
    if not any(re.fullmatch(WEBGPU, name) for name in needed):
        faults.append("does not need the WebGPU library: is this the program?")
    return faults


def faults_of_library(library):
    faults = []
    dynamic = output_of("readelf", "-d", library)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)
    faults += [f"needs {name}" for name in needed if not re.fullmatch(f"{GLIBC}|{WEBGPU}|{RUNTIME}", name)]
    faults += foreign_folders(dynamic)
    webgpu = [i for i, name in enumerate(needed) if re.fullmatch(WEBGPU, name)]
    runtime = [i for i, name in enumerate(needed) if re.fullmatch(RUNTIME, name)]
    if len(webgpu) != 1 or len(runtime) != 2 or max(runtime) > webgpu[0]:
        faults.append(f"does not look for its C++ runtime first and then for the WebGPU library: {needed}")
    n_exports = 0
    for line in output_of("nm", "-D", library).splitlines():
        kind, name = line[17:].split(" ", 1)
        versioned = re.search(r"@+(GLIBC|GLIBCXX|CXXABI|GCC)_", name)
        if kind == "U" and not versioned and not re.fullmatch(r"wgpu[A-Z]\w*", name):
            faults.append(f"takes {name} from a library")
        if kind in "wv" and not versioned and not re.fullmatch(WEAK, name):
            faults.append(f"takes {name} from a library, if there")
        if kind in "Uwv":
            continue
        n_exports += 1
        if not re.fullmatch(PUBLIC, name) or re.match(r"_ZNK?9ravenwing(6Engine|7Session)4Impl", name):
            faults.append(f"exports {name}")
    if n_exports < 50:
        faults.append(f"exports {n_exports} names: is this the library?")
    return faults


def self_test(folder):
    """A program linked the way nothing of ours may be is told off for all of it."""
    source, program = os.path.join(folder, "bad.cpp"), os.path.join(folder, "bad")
    with open(source, "w", encoding="utf-8") as file:
        file.write('#include <string>\nextern "C" int deflate(int n) { return n; }\n'
                   'int main(int n, char** v) { std::string s(v[0]); s += "x"; return deflate(n) + s.size() > 99; }\n')
    subprocess.run([os.environ.get("CXX", "c++"), "-O0", "-rdynamic", f"-Wl,-rpath,{folder}", source, "-o", program], check=True)
    faults = faults_of(program)
    for expected in ("needs libstdc++", "exports deflate", "exports main", "takes _Z", "looks for libraries", "does not need"):
        if not any(fault.startswith(expected) for fault in faults):
            sys.exit(f"symbols_test.py itself: a bad program was not told '{expected}...', only: {faults}")
    faults = faults_of_library(program)
    for expected in ("exports deflate", "exports main", "does not look for"):
        if not any(fault.startswith(expected) for fault in faults):
            sys.exit(f"symbols_test.py itself: a bad library was not told '{expected}...', only: {faults}")


def main():
    program, library = sys.argv[1:]
    for tool in ("readelf", "nm"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install binutils")
    with tempfile.TemporaryDirectory() as folder:
        self_test(folder)
    for file in (program, library):
        if not os.path.exists(file):
            print(f"{file} is not built: make build")
            sys.exit(1 if os.environ.get("RAVENWING_REQUIRE_RELEASE") else 77)
    faults = [f"{program}: {fault}" for fault in faults_of(program)]
    faults += [f"{library}: {fault}" for fault in faults_of_library(library)]
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
