#!/usr/bin/env python3
"""Makes one program of the C++ examples of a document, so that a test can compile and run them.

usage: cpp_program.py DOCUMENT PROGRAM.cpp
A block with a main() is a program of its own; all others are parts of one function and see what those before them declared.
Exit status 1 for a block in a language that nobody checks.
"""
import os
import re
import sys

KNOWN = {"cpp", "cmake", "sh"}

TEMPLATE = """// Made of {document} by {script}.
#undef NDEBUG
{includes}

{programs}
static void examples() {{
{parts}}}

// Without an adapter: status 77, "skipped", unless RAVENWING_REQUIRE_GPU is set.
int main() try {{
  {calls}
  examples();
}} catch (const ravenwing::Error& error) {{
  std::fprintf(stderr, "%s\\n", error.what());
  return error.code() == ravenwing::ErrorCode::no_device && std::getenv("RAVENWING_REQUIRE_GPU") == nullptr ? 77 : 1;
}}
"""


def blocks_of(text):
    """(line, language, code) of each fenced block."""
    for found in re.finditer(r"(?ms)^```(\w*)\n(.*?)^```$", text):
        yield text.count("\n", 0, found.start()) + 2, found[1], found[2]


def program_of(document, text):
    includes = {"#include <cstdio>", "#include <cstdlib>", '#include "ravenwing/ravenwing.hpp"'}
    programs, parts, calls = [], [], []
    for line, language, code in blocks_of(text):
        if language not in KNOWN:
            sys.exit(f"{document}:{line}: a block in {language or 'no language'}; known are {', '.join(sorted(KNOWN))}")
        if language != "cpp":
            continue
        includes.update(re.findall(r"(?m)^#include .*$", code))
        code = re.sub(r"(?m)^#include .*$", "", code)  # the line stays, for the compiler's messages
        located = f'#line {line} "{document}"\n{code}'
        if "int main(" in code:
            name = f"program_{len(calls) + 1}"
            programs.append(f"namespace {name} {{\n{located.replace('int main(', 'static void run(')}}}\n")
            calls.append(f"{name}::run();")
        else:
            parts.append(located)
    if not parts or not calls:
        sys.exit(f"{document}: {len(calls)} programs and {len(parts)} other examples in C++")
    return TEMPLATE.format(document=document, script=os.path.basename(__file__), includes="\n".join(sorted(includes)),
                           programs="".join(programs), parts="".join(parts), calls="\n  ".join(calls))


def main():
    document, program = sys.argv[1:]
    with open(document, encoding="utf-8") as file:
        text = program_of(os.path.basename(document), file.read())
    with open(program, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
