// tests/kernels/wgsl_test.cpp: linking shaders, and the numbers that shaders and host must agree on. No GPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstring>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "gpu/plan.hpp"
#include "gpu/shader.hpp"
#include "kernels/shaders.hpp"
#include "kernels/step.hpp"

using namespace ravenwing;
using gpu::link_wgsl;
using gpu::ShaderLibrary;

namespace {

/// The message of what link_wgsl throws, "" where it does not.
std::string link_error(const ShaderLibrary& library, const gpu::ShaderVariant& variant) {
  try {
    link_wgsl(library, variant);
    return "";
  } catch (const std::logic_error& error) {
    return error.what();
  }
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// The `const NAME = <number>u;` lines of a shader; sums of numbers and of names known before it too.
std::map<std::string, uint32_t> constants_of(const std::string& shader, std::map<std::string, uint32_t> known = {}) {
  const ShaderLibrary library = kernels::shader_library();
  const std::string& text = library.find(shader)->second;
  const std::regex line(R"(const (\w+) = ([^;]+);)"), product(R"((?:(\d+)u \* )?(\w+))");
  for (std::sregex_iterator found(text.begin(), text.end(), line), end; found != end; ++found) {
    const std::string sum = (*found)[2];
    uint32_t value = 0;
    for (std::sregex_iterator term(sum.begin(), sum.end(), product); term != end; ++term) {
      const std::string name = (*term)[2];
      const bool number = std::isdigit(static_cast<unsigned char>(name[0])) != 0;
      const uint32_t factor = (*term)[1].matched ? uint32_t(std::stoul((*term)[1])) : 1;
      value += factor * (number ? uint32_t(std::stoul(name, nullptr, 0)) : known.at(name));
    }
    known[(*found)[1]] = value;
  }
  return known;
}

}  // namespace

TEST_SUITE_BEGIN("wgsl");

TEST_CASE("imports stand where they are first named, once; constants take the variant's value") {
  const ShaderLibrary library = {{"main", "//@import shape\n//@const SIZE 4\n//@import tool\nfn main() {}\n"},
                                 {"shape_a", "//@import tool\nconst A = 1u;\n"},
                                 {"tool", "fn tool() {}\n"}};
  CHECK(link_wgsl(library, {.shader = "main", .modules = {{"shape", "shape_a"}}}) ==
        "fn tool() {}\nconst A = 1u;\nconst SIZE: u32 = 4u;\nfn main() {}\n");
  CHECK(contains(link_wgsl(library, {.shader = "main", .modules = {{"shape", "shape_a"}}, .constants = {{"SIZE", 9}}}),
                 "const SIZE: u32 = 9u;\n"));
}

TEST_CASE("templates are imported under several names, what they share once") {
  const ShaderLibrary library = {
      {"main", "//@import kind as _0\n//@import kind as _1\nfn main() { read_0(); read_1(); }\n"},
      {"one", "//@template\n//@import common\n//@import tool\nfn read() { use(1); tool(); }\n"},
      {"two",
       "//@template\n//@import common\n//@import tool\nalias Reading = u32;\nfn read() { use(2); Readings(); }\n"},
      {"common", "//@template\nfn use(x: u32) { read(); }\n"},
      {"tool", "fn tool() {}\n"}};
  CHECK(link_wgsl(library, {.shader = "main", .modules = {{"kind_0", "one"}, {"kind_1", "two"}}}) ==
        "fn use_0(x: u32) { read_0(); }\nfn tool() {}\nfn read_0() { use_0(1); tool(); }\n"
        "fn use_1(x: u32) { read_1(); }\nalias Reading_1 = u32;\nfn read_1() { use_1(2); Readings(); }\n"
        "fn main() { read_0(); read_1(); }\n");
  CHECK(link_wgsl(library, {.shader = "two"}) ==
        "fn use(x: u32) { read(); }\nfn tool() {}\nalias Reading = u32;\nfn read() { use(2); Readings(); }\n");
}

TEST_CASE("what must stand first is hoisted, each once") {
  const ShaderLibrary library = {{"main", "//@import a\n//@import b\nenable f16;\nfn main() {}\n"},
                                 {"a", "fn a() {}\nenable f16;\nrequires subgroup_id;\n"},
                                 {"b", "enable subgroups;\ndiagnostic(off, derivative_uniformity);\nfn b() {}\n"}};
  const std::string text = link_wgsl(library, {.shader = "main"});
  CHECK(text ==
        "enable f16;\nrequires subgroup_id;\nenable subgroups;\ndiagnostic(off, derivative_uniformity);\n"
        "fn a() {}\nfn b() {}\nfn main() {}\n");
}

TEST_CASE("lines are repeated for each value below a constant, one block in another") {
  const ShaderLibrary library = {
      {"main",
       "//@const N 2\n//@const M 3\n//@repeat I N\nlet a_$I = $Iu;\n//@repeat J M\nb_$I_$J;\n//@end\n//@end\nlast;\n"}};
  CHECK(link_wgsl(library, {.shader = "main", .constants = {{"M", 1}}}) ==
        "const N: u32 = 2u;\nconst M: u32 = 1u;\nlet a_0 = 0u;\nb_0_0;\nlet a_1 = 1u;\nb_1_0;\nlast;\n");
}

TEST_CASE("what cannot be linked is named") {
  const ShaderLibrary library = {
      {"missing", "//@import nowhere\n"},       {"circle", "//@import other\n"},
      {"other", "//@import circle\n"},          {"twice", "fn helper() {}\n//@import helper\n"},
      {"helper", "fn helper() {}\n"},           {"constants", "//@const N 1\n//@const N 2\n"},
      {"plain", "//@const N 1\nfn main() {}\n"}};
  const ShaderLibrary repeats = {{"open", "//@const N 1\n//@repeat I N\na;\n"}, {"unknown", "//@repeat I N\n//@end\n"}};
  CHECK(contains(link_error(repeats, {.shader = "open"}), "open: a //@repeat without its //@end"));
  CHECK(contains(link_error(repeats, {.shader = "unknown"}), "no constant N to repeat by"));
  CHECK(contains(link_error(library, {.shader = "absent"}), "no shader named absent"));
  CHECK(contains(link_error(library, {.shader = "missing"}), "no shader named nowhere"));
  CHECK(contains(link_error(library, {.shader = "circle"}), "circle imports itself"));
  CHECK(contains(link_error(library, {.shader = "twice"}), "defined twice: fn helper()"));
  CHECK(contains(link_error(library, {.shader = "constants"}), "constant N is defined twice"));
  CHECK(contains(link_error(library, {.shader = "plain", .constants = {{"M", 1}}}), "plain has no constant M"));
  CHECK(link_error(library, {.shader = "plain", .constants = {{"N", 3}}}) == "");
}

TEST_CASE("control blocks lie as the shaders read them") {
  using kernels::ControlBlock;
  const std::map<std::string, uint32_t> expected = {
      {"CONTROL_WORDS", sizeof(ControlBlock) / 4},
      {"CONTROL_NEXT_TOKEN", offsetof(ControlBlock, next_token) / 4},
      {"CONTROL_FROZEN", offsetof(ControlBlock, frozen) / 4},
      {"CONTROL_N_GENERATED", offsetof(ControlBlock, n_generated) / 4},
      {"CONTROL_LIMIT", offsetof(ControlBlock, limit) / 4},
      {"CONTROL_SEQUENCE", offsetof(ControlBlock, sequence) / 4},
      {"CONTROL_SEED", offsetof(ControlBlock, seed) / 4},
      {"CONTROL_TEMPERATURE", offsetof(ControlBlock, temperature) / 4},
      {"CONTROL_TOP_K", offsetof(ControlBlock, top_k) / 4},
      {"CONTROL_TOP_P", offsetof(ControlBlock, top_p) / 4},
      {"CONTROL_N_STOP", offsetof(ControlBlock, n_stop) / 4},
      {"CONTROL_STOP", offsetof(ControlBlock, stop) / 4},
      {"STOP_MAX", kernels::kStopMax},
      {"CONTROL_POSITION", offsetof(ControlBlock, position) / 4},
      {"CONTROL_ORDER", offsetof(ControlBlock, order) / 4},
      {"CONTROL_MIN_P", offsetof(ControlBlock, min_p) / 4},
      {"CONTROL_TYPICAL_P", offsetof(ControlBlock, typical_p) / 4},
      {"CONTROL_XTC_PROBABILITY", offsetof(ControlBlock, xtc_probability) / 4},
      {"CONTROL_XTC_THRESHOLD", offsetof(ControlBlock, xtc_threshold) / 4},
      {"CONTROL_MIROSTAT_TAU", offsetof(ControlBlock, mirostat_tau) / 4},
      {"CONTROL_MIROSTAT_ETA", offsetof(ControlBlock, mirostat_eta) / 4},
      {"CONTROL_PRESENCE_PENALTY", offsetof(ControlBlock, presence_penalty) / 4},
      {"CONTROL_FREQUENCY_PENALTY", offsetof(ControlBlock, frequency_penalty) / 4},
      {"CONTROL_REPETITION_PENALTY", offsetof(ControlBlock, repetition_penalty) / 4},
      {"CONTROL_PENALTY_DECAY", offsetof(ControlBlock, penalty_decay) / 4},
      {"CONTROL_N_ADDITIONS", offsetof(ControlBlock, n_additions) / 4},
      {"CONTROL_N_UNCOUNTED", offsetof(ControlBlock, n_uncounted) / 4},
      {"CONTROL_UNCOUNTED", offsetof(ControlBlock, uncounted) / 4},
      {"UNCOUNTED_MAX", kernels::kUncountedMax},
      {"CONTROL_MIROSTAT_MU", offsetof(ControlBlock, mirostat_mu) / 4}};
  CHECK(constants_of("control_layout") == expected);
}

TEST_CASE("a step's input lies as the shaders read it") {
  constexpr uint32_t kTokensMax = 11;
  auto layout = constants_of("step", {{"TOKENS_MAX", kTokensMax}});
  kernels::StepInput step(kTokensMax);
  const std::vector<uint32_t> ids = {21, 22}, more_ids = {23, 24, 25};
  step.add_chunk({7, ids});
  step.add_chunk({9, {}});
  step.add_chunk({8, more_ids});
  step.add_output({4, 8, true});
  step.add_output({1, 7, false});
  const auto bytes = step.as_bytes();
  CHECK(bytes.size() == kernels::StepInput::bytes(kTokensMax));
  const auto words = [&](uint32_t at, uint32_t n) {
    std::vector<uint32_t> result(n);
    std::memcpy(result.data(), &bytes[4 * at], 4 * n);
    return result;
  };
  using Words = std::vector<uint32_t>;
  CHECK(words(0, 3) == Words{5, 3, 2});
  CHECK(words(layout.at("STEP_TOKENS"), 5) == Words{21, 22, 23, 24, 25});
  CHECK(words(layout.at("STEP_CHUNK_OF_TOKEN"), 5) == Words{0, 0, 2, 2, 2});
  CHECK(words(layout.at("STEP_CHUNKS"), 11) == Words{7, 0, 2, 0, 9, 2, 0, 0, 8, 2, 3});
  CHECK(words(layout.at("STEP_OUTPUTS"), 7) == Words{4, 8, 1, 0, 1, 7, 0});
  CHECK(layout.at("STEP_OUTPUTS") + 4 * kTokensMax <= bytes.size() / 4);
  step.clear();
  CHECK(words(0, 3) == Words{0, 0, 0});
}

TEST_CASE("segments of a product lie as matmul.cpp writes them") {
  const ShaderLibrary library = kernels::shader_library();
  const std::string& text = library.find("matmul_segments")->second;
  const size_t begin = text.find("struct Segment {");
  const std::string body = text.substr(begin, text.find('}', begin) - begin);
  const std::regex field(R"((\w+): (\w+),)");
  std::vector<std::string> fields;
  for (std::sregex_iterator found(body.begin(), body.end(), field), end; found != end; ++found) {
    CHECK((*found)[2] == "u32");
    fields.push_back((*found)[1]);
  }
  // The order of SegmentWords. Arrays in uniform buffers have strides of whole 16 bytes, hence twelve words.
  CHECK(fields == std::vector<std::string>{"group_begin", "n_rows", "n_in", "row_words", "weight_offset",
                                           "input_offset", "input_stride", "activation", "output_offset",
                                           "output_stride", "k_begin", "k_end"});
}

TEST_CASE("ids and reasons that stand for something are the host's") {
  const auto embed = constants_of("embed"), sample = constants_of("sample");
  CHECK(embed.at("FEEDBACK") == kernels::kFeedback);
  CHECK(sample.at("NONE") == kernels::kNoToken);
  CHECK(sample.at("FROZEN_STOP") == uint32_t(kernels::Frozen::stop));
  CHECK(sample.at("FROZEN_LIMIT") == uint32_t(kernels::Frozen::limit));
  CHECK(sample.at("FROZEN_NUMERICAL") == uint32_t(kernels::Frozen::numerical));
}

TEST_CASE("grids beyond a dimension are folded without leaving a group out") {
  for (const uint64_t n : {1ull, 2ull, 65535ull, 65536ull, 65537ull, 131070ull, 131071ull, 65535ull * 65535}) {
    const gpu::Grid grid = gpu::folded_grid(n, 3);
    CHECK(uint64_t(grid.x) * grid.y >= n);
    CHECK(uint64_t(grid.x) * (grid.y - 1) < n);
    CHECK(std::max(grid.x, grid.y) <= 65535);
    CHECK(grid.z == 3);
  }
  const gpu::Grid small = gpu::folded_grid(11, 1, 5);
  CHECK(small.x == 4);
  CHECK(small.y == 3);
}

TEST_SUITE_END();
