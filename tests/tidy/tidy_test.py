#!/usr/bin/env python3
"""tidy.py itself: a clean tree passes, and each kind of fault in it is reported."""
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import api  # noqa: E402
import tidy  # noqa: E402

CLEAN = {
    "include/ravenwing/error.hpp": "#include <string>\n",
    "src/base/bytes.hpp": '#include "ravenwing/error.hpp"\n',
    "src/gpu/device.hpp": '#include <webgpu/webgpu_cpp.h>\n#include "base/bytes.hpp"\n',
    "src/format/quant_blocks.hpp": '#include "base/bytes.hpp"\n',
    "src/format/gguf.cpp": '#include <nlohmann/json.hpp>\n#include "base/bytes.hpp"\n',
    "src/kernels/wkv.hpp": '#include "format/quant_blocks.hpp"\n#include "gpu/device.hpp"\n',
    "src/kernels/wkv.cpp": '#include "kernels/wkv.hpp"\nconst char* name = "wkv";\n',
    "src/kernels/wkv_ref.cpp": '#include "format/quant_blocks.hpp"\n',
    "src/kernels/wgsl/wkv.wgsl": "//@import reduce_subgroup\n@compute @workgroup_size(64)\nfn main() {\n}\n",
    "src/kernels/wgsl/reduce_subgroup.wgsl": "fn reduce(x: f32) -> f32 {\n  return x;\n}\n",
    "src/model/runner.hpp": '#include "base/bytes.hpp"\n',
    "src/engine/engine.cpp": '#include "model/runner.hpp"\n',
    "apps/main.cpp": '#include <CLI/CLI.hpp>\n#include "ravenwing/error.hpp"\n',
}
FILLER = "  x += 1;\n"


class TidyTest(unittest.TestCase):
    def faults(self, changes):
        """The faults of the clean tree with `changes` laid over it."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in (CLEAN | changes).items():
                file = pathlib.Path(root, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.replace("@ROOT@", root))
            return tidy.check(root)[1]

    def expect(self, path, text, *words):
        """One fault, in that file, with these words."""
        faults = self.faults({path: text})
        self.assertEqual(len(faults), 1, faults)
        for word in (path, *words):
            self.assertIn(word, faults[0])

    def test_clean_tree(self):
        self.assertEqual(self.faults({}), [])

    def test_rooms(self):
        for path, header in (
                ("src/base/x.hpp", "format/gguf.hpp"), ("src/format/x.cpp", "tokenizer/trie.hpp"),
                ("src/format/x.cpp", "gpu/plan.hpp"), ("src/tokenizer/x.cpp", "format/gguf.hpp"),
                ("src/gpu/x.cpp", "kernels/wkv_x.hpp"), ("src/kernels/x.cpp", "model/runner.hpp"),
                ("src/kernels/x.cpp", "format/gguf.hpp"), ("src/model/x.cpp", "tokenizer/trie.hpp"),
                ("src/model/x.cpp", "engine/session.hpp"), ("src/engine/x.cpp", "kernels/other.hpp"),
                ("apps/x.cpp", "base/bytes.hpp"), ("include/ravenwing/x.hpp", "base/bytes.hpp"),
                ("src/kernels/x_ref.cpp", "gpu/plan.hpp"), ("src/model/x_ref.cpp", "gpu/plan.hpp")):
            self.expect(path, f'#include "{header}"\n', header)

    def test_third_party(self):
        for path in ("src/kernels/x.cpp", "src/engine/x.cpp", "apps/x.cpp", "include/ravenwing/x.hpp"):
            self.expect(path, "#include <webgpu/webgpu_cpp.h>\n", "only gpu may include webgpu/")
        self.expect("src/engine/x.cpp", "#include <nlohmann/json.hpp>\n", "nlohmann")
        self.expect("src/engine/x.cpp", "#include <CLI/CLI.hpp>\n", "CLI")

    def test_webgpu_through_others(self):
        faults = self.faults({"src/model/runner.hpp": '#include "kernels/wkv.hpp"\n'})
        self.assertEqual(len(faults), 1, faults)
        self.assertIn("src/engine/engine.cpp:1: reaches webgpu/webgpu_cpp.h", faults[0])
        self.assertIn("src/model/runner.hpp -> src/kernels/wkv.hpp -> src/gpu/device.hpp", faults[0])

    def test_file_length(self):
        self.assertEqual(self.faults({"src/base/x.cpp": "int x;\n" * 800}), [])
        self.expect("src/base/x.cpp", "int x;\n" * 801, "801 lines")

    def test_function_length(self):
        def function(n_lines, head="void f(int x) {"):
            return head + "\n" + FILLER * (n_lines - 2) + "}\n"

        self.assertEqual(self.faults({"src/base/x.cpp": function(70) + function(70)}), [])
        self.expect("src/base/x.cpp", "namespace a {\n" + function(71) + "}\n", ":2: function f has 71 lines")
        self.expect("tests/unit/x.cpp", 'TEST_SUITE("a") {\n' + function(71) + "}\n", ":2: function f has 71 lines")
        for head in ("A::A(int y) : y_{y}, z_{0} {", "auto g = [](int x) {", "struct A {\n public:\n  void f() const {",
                     'TEST_CASE("{ a ( case") {', "template <typename T>\nT f(T x = {}) {"):
            self.expect("src/base/x.cpp", function(72, head) + ("};\n" if "struct" in head else ""), "lines, at most 70")
        # Braces in literals and comments are not counted, and a table is no function.
        self.assertEqual(self.faults({"src/base/x.cpp": "void f() {\n  auto s = \"}\";  // {\n  char c = '{';\n}\n"
                                                        + "int table[] = {\n" + "1,\n" * 90 + "};\n"}), [])
        self.expect("src/base/x.cpp", 'void f() {\n  auto s = "}";\n' + FILLER * 80 + "}\n", "83 lines")

    def test_shader_length(self):
        shader = CLEAN["src/kernels/wgsl/wkv.wgsl"]
        for n_lines, n_faults in ((118, 0), (119, 1)):
            faults = self.faults({"src/kernels/wgsl/wkv.wgsl": shader + "fn f() {\n" + FILLER * n_lines + "}\n"})
            self.assertEqual(len(faults), n_faults, faults)

    def test_shader_functions(self):
        again = CLEAN["src/kernels/wgsl/reduce_subgroup.wgsl"]
        self.expect("src/kernels/wgsl/wkv.wgsl", CLEAN["src/kernels/wgsl/wkv.wgsl"] + again, "fn reduce")
        self.expect("src/kernels/wgsl/reduce_subgroup.wgsl", again + again, "twice in this file")
        # Modules of one family stand for each other.
        self.assertEqual(self.faults({"src/kernels/wgsl/reduce_workgroup.wgsl": again,
                                      "src/kernels/wkv.cpp": 'f("wkv", "reduce_workgroup");\n'}), [])

    def test_shader_text(self):
        shader = CLEAN["src/kernels/wgsl/wkv.wgsl"]
        self.expect("src/kernels/wgsl/wkv.wgsl", shader + "#if F16\n", "preprocessor")
        self.expect("src/kernels/wgsl/wkv.wgsl", shader + "const A = {{a}};\n", "template")
        self.expect("src/kernels/wgsl/wkv.wgsl", shader + "// " + "x" * 138 + "\n", "141 columns")

    def test_shader_without_use(self):
        self.expect("src/kernels/wgsl/orphan.wgsl", "const A = 1;\n", "no kernel names this shader")

    def test_words(self):
        self.expect("src/base/x.cpp", "// TODO: later\n", "TODO without a name")
        self.assertEqual(self.faults({"src/base/x.cpp": "// TODO(ada): later\n"}), [])
        for path in ("/" + "home/ada/model.gguf", "/" + "root/x", "@ROOT@/x"):
            self.expect("README.md", f"see {path}\n", "a path of one machine")
        self.expect("src/base/x.cpp", "int x; \n", "blanks")
        self.expect("src/base/x.cpp", "\tint x;\n", "a tab")


HEADER = """#pragma once
#include <string>
namespace ravenwing {
struct Elsewhere;
enum class Colour : int { red, green = 7 };  // { of a comment
/// What it is.
struct Bird {
  std::string cry = "c;r}a";  // its own
  std::vector<int> legs = {1, 2};
  bool operator==(const Bird&) const = default;
  friend Bird operator+(Bird a, const Bird& b) { return a += b; }
};
class Nest {
 public:
  explicit Nest(Bird bird) : bird_(std::move(bird)), n_{1} {}
  void run(const std::function<void(int)>& visit = {},
           int n = 3) const;
  struct [[gnu::visibility("hidden")]] Impl;

 private:
  friend class Engine;
  void hide();
  Bird bird_;
};
int fly();
}  // namespace ravenwing
"""
DECLARATIONS = """enum class Colour : int
Colour: red
Colour: green = 7
struct Bird
Bird: std::string cry = "c;r}a"
Bird: std::vector<int> legs = {1, 2}
Bird: bool operator==(const Bird&) const = default
Bird: friend Bird operator+(Bird a, const Bird& b)
class Nest
Nest: explicit Nest(Bird bird)
Nest: void run(const std::function<void(int)>& visit = {}, int n = 3) const
int fly()"""


class ApiTest(unittest.TestCase):
    def test_declarations(self):
        lines = [f"{scope + ': ' if scope else ''}{declaration}" for scope, declaration in api.declarations(HEADER)]
        self.assertEqual("\n".join(lines), DECLARATIONS)


if __name__ == "__main__":
    unittest.main()
