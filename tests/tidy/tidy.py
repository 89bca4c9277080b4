#!/usr/bin/env python3
"""Checks of the source itself: who includes whom, how long things are, what a shader may hold. HACKING.md has the rules.

usage: tidy.py [ROOT]     prints one line per fault; exit status 1 if there is one
"""
import collections
import os
import re
import sys

FILE_LINES_MAX = 800
COLUMNS_MAX = 140  # of a shader: its one-line accessors are read as a table
FUNCTION_LINES_MAX = {".cpp": 70, ".hpp": 70, ".wgsl": 120}
CODE = {".cpp", ".hpp", ".wgsl", ".py", ".sh", ".cmake", ".js", ".css"}
TEXT = CODE | {".txt", ".md", ".json", ".html", ".toml", ""}
SKIPPED_FOLDERS = {".git", "build", "third_party", "data", "__pycache__"}

# room -> the rooms whose headers it may include besides its own
ROOMS = {
    "base": set(),
    "format": {"base"},
    "tokenizer": {"base"},
    "gpu": {"base"},
    "kernels": {"base", "format", "gpu"},
    "model": {"base", "format", "gpu", "kernels"},
    "engine": {"base", "format", "tokenizer", "model"},
}
# The CPU oracles and what they share run where there is no GPU.
ORACLE_MAY_SEE = {"base", "format", "kernels", "model"}
# of format, kernels need the layout of weights alone
FORMAT_HEADERS_OF_KERNELS = {"format/quant_blocks.hpp", "format/weight_format.hpp"}
# Rooms of the code above the engine: they see include/ravenwing and their own folder, nothing of src/.
OUTER_ROOMS = {"include", "apps", "examples", "python", "server"}
# first folder of a third-party header -> the rooms that may include it
THIRD_PARTY = {"webgpu": {"gpu"}, "dawn": {"gpu"}, "nlohmann": {"format", "apps", "server"}, "CLI": {"apps"}}
WEBGPU_NEVER_REACHES = {"include", "apps", "examples", "python", "server", "engine", "tokenizer", "format"}


def read_tree(root):
    """{path relative to root: text} of every text file that is ours."""
    files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if os.path.splitext(name)[1] in TEXT and not name.startswith("rwkv_vocab_"):
                with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
                    files[path] = file.read()
    return files


def suffix(path):
    return os.path.splitext(path)[1]


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def lines_of(text):
    return list(enumerate(text.splitlines(), 1))


# ---- who includes whom

def room_of(path):
    parts = path.split(os.sep)
    return parts[1] if parts[0] == "src" else parts[0]


def includes_of(text):
    for number, line in lines_of(text):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found[1], found[2]


def is_oracle(path):
    return stem(path).endswith("_ref") and room_of(path) in ("kernels", "model")


def forbidden_include(path, header):
    """Why the file must not include the header, or None."""
    room, wanted = room_of(path), header.split("/")[0]
    if wanted in THIRD_PARTY and "/" in header:
        rooms = THIRD_PARTY[wanted]
        return None if room in rooms else f"only {', '.join(sorted(rooms))} may include {wanted}/"
    if wanted not in ROOMS or "/" not in header:
        return None
    if room in OUTER_ROOMS:
        return f"{room} sees include/ravenwing only, nothing of src/"
    if is_oracle(path) and wanted not in ORACLE_MAY_SEE:
        return f"an oracle runs without a GPU and may not include {wanted}/"
    if wanted != room and wanted not in ROOMS[room]:
        return f"{room} may not include {wanted}/"
    if room == "kernels" and wanted == "format" and not is_oracle(path) and header not in FORMAT_HEADERS_OF_KERNELS:
        return "kernels may include " + " and ".join(sorted(FORMAT_HEADERS_OF_KERNELS)) + " only"
    return None


def check_includes(files):
    for path, text in files.items():
        if suffix(path) not in (".cpp", ".hpp") or room_of(path) not in ROOMS.keys() | OUTER_ROOMS:
            continue
        for number, _, header in includes_of(text):
            reason = forbidden_include(path, header)
            if reason:
                yield f"{path}:{number}: includes {header}: {reason}"


def check_webgpu_reach(files):
    """What must know no WebGPU must not reach its headers through others either."""
    def header_path(header):
        return next((p for p in (f"src/{header}", f"include/{header}") if p in files), None)

    for path, text in files.items():
        if suffix(path) not in (".cpp", ".hpp") or room_of(path) not in WEBGPU_NEVER_REACHES:
            continue
        way = {path: [path]}
        queue = [path]
        while queue:
            current = queue.pop(0)
            for _, _, header in includes_of(files[current]):
                if header.startswith(("webgpu/", "dawn/")) and current != path:
                    yield f"{path}:1: reaches {header} through {' -> '.join(way[current][1:])}"
                following = header_path(header)
                if following and following not in way:
                    way[following] = way[current] + [following]
                    queue.append(following)


# ---- how long things are

def blank_out(text):
    """The text with comments and the contents of literals as blanks, lines kept; braces in them would mislead."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'', re.S)
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def opens_function(head):
    """Whether a `{` after this text begins a function: it has parameters and is neither a type nor an
    initialiser, nor doctest's TEST_SUITE("..."), which is a namespace."""
    head = head.strip()
    return "(" in head and not head.endswith("=") and not re.match(r"(namespace|class|struct|union|enum|TEST_SUITE)\b", head)


def functions_of(text):
    """(first line, last line, name) of every function, by counting braces. Lambdas within count with their function."""
    code = re.sub(r"(?m)^[ ]*#.*$", "", blank_out(text))  # a preprocessor line becomes an empty one
    line, depth, parentheses = 1, 0, 0
    head, head_line, function = "", 1, None
    for index, char in enumerate(code):
        if char == "\n":
            line += 1
        if function:
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth == function[1]:
                # `Name::Name() : a_{1}, b_{2} {`: a short pair of braces before the body belongs to the head.
                if code[index + 1:].lstrip()[:1] not in (",", "{") or line != function[3]:
                    yield function[0], line, function[2]
                    head = ""
                function = None
            continue
        if char in "()":
            parentheses += 1 if char == "(" else -1
        if char == "{" and parentheses == 0 and opens_function(head):
            name = re.search(r"([\w:~]+|operator\s*\S+)\s*\(", head)
            function = (head_line, depth, name[1] if name else "lambda", line)
            depth += 1
        elif char == ":" and head.strip() in ("public", "protected", "private"):
            head = ""
        elif char in ";{}" and parentheses == 0:
            depth += {"{": 1, "}": -1}.get(char, 0)
            head = ""
        else:
            if not head.strip():
                head, head_line = "", line
            head += char


def check_length(files):
    for path, text in files.items():
        if suffix(path) not in CODE:
            continue
        n_lines = text.count("\n")
        if n_lines > FILE_LINES_MAX:
            yield f"{path}:{n_lines}: {n_lines} lines, at most {FILE_LINES_MAX}"
        limit = FUNCTION_LINES_MAX.get(suffix(path))
        if limit is None:
            continue
        for first, last, name in functions_of(text):
            if last - first + 1 > limit:
                yield f"{path}:{first}: function {name} has {last - first + 1} lines, at most {limit}"


def check_form(files):
    for path, text in files.items():
        if suffix(path) not in CODE:
            continue
        for number, line in lines_of(text):
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end of the line"
            if "\t" in line:
                yield f"{path}:{number}: a tab"
            if len(line) > COLUMNS_MAX and suffix(path) == ".wgsl":  # C++ is clang-format's
                yield f"{path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"


# ---- shaders

def shaders_of(files):
    return {path: text for path, text in files.items() if suffix(path) == ".wgsl"}


def family(path, text):
    """Modules of one family (format_*, act_*, reduce_*, epilogue_*) stand for each other and export the same names; a
    shader with an entry point, or a module alone, is a family of its own."""
    return stem(path) if "@compute" in text else stem(path).split("_")[0]


def check_shader_functions(files):
    defined = collections.defaultdict(dict)  # function -> {family: where}
    for path, text in shaders_of(files).items():
        code = blank_out(text)
        seen = set()
        entry = set(re.findall(r"@compute[^{;]*?\bfn\s+(\w+)", code))
        for number, line in lines_of(code):
            for name in re.findall(r"\bfn\s+(\w+)\s*\(", line):
                where = f"{path}:{number}"
                if name in seen:
                    yield f"{where}: fn {name} is defined twice in this file"
                seen.add(name)
                if name in entry:
                    continue
                others = [place for other, place in defined[name].items() if other != family(path, text)]
                if others:
                    yield f"{where}: fn {name} is defined at {others[0]} too; move it to a module that both import"
                defined[name].setdefault(family(path, text), where)


def check_shader_text(files):
    for path, text in shaders_of(files).items():
        for number, line in lines_of(text):
            if re.match(r"\s*#", line):
                yield f"{path}:{number}: a preprocessor line; use an import or a constant"
            if "{{" in line or "}}" in line:
                yield f"{path}:{number}: a text template; use an import or a constant"


def check_shader_use(files):
    shaders = shaders_of(files)
    used = set()
    for path, text in files.items():
        if path.startswith(("src/kernels/", "src/model/")) and suffix(path) in (".cpp", ".hpp"):
            used.update(re.findall(r'"(\w+)"', text))
    for text in shaders.values():
        used.update(re.findall(r"(?m)^//@import\s+(\w+)", text))
    for path in shaders:
        if stem(path) not in used:
            yield f"{path}:1: no kernel names this shader and none imports it"


# ---- words

def check_words(files, root):
    # The path of this very clone gives away a machine, as do the usual places of homes.
    machine_path = re.compile(r"(?:^|[^\w.])(?:/(?:root|home|Users)/\w|" + re.escape(os.path.abspath(root)) + r"\b)")
    for path, text in files.items():
        for number, line in lines_of(text):
            nameless = re.search(r"\b(TODO|FIXME|XXX)\b(?!\(\w)", line)
            if nameless and suffix(path) in CODE and not path.startswith("tests/tidy/"):
                yield f"{path}:{number}: a TODO without a name: write TODO(name)"
            if machine_path.search(line):
                yield f"{path}:{number}: a path of one machine"


def check(root):
    files = read_tree(root)
    checks = (check_includes, check_webgpu_reach, check_length, check_form, check_shader_functions, check_shader_text,
              check_shader_use)
    faults = [fault for one in checks for fault in one(files)]
    return len(files), faults + list(check_words(files, root))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    n_files, faults = check(os.path.normpath(root))
    for fault in faults:
        print(fault)
    print(f"tidy: {n_files} files, {len(faults)} faults")
    if n_files == 0:
        print(f"tidy: nothing to check in {root}")
    return 1 if faults or n_files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
