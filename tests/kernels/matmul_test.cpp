// tests/kernels/matmul_test.cpp: matrix products of every format, shape and kind against matmul_ref.
#include "kernels/matmul.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "kernels/matmul_case.hpp"
#include "kernels/sequences.hpp"

using namespace ravenwing;
using format::WeightFormat;
using kernels::Activation;
using kernels::MatMulMode;
using test::MatMulCase;
using test::MatMulScene;

namespace {

/// Returns the number of dispatches.
size_t check_case(test::Gpu& gpu, const MatMulCase& matmul_case) {
  INFO(gpu.name(), ": ", matmul_case.why);
  MatMulScene scene(gpu, matmul_case);
  scene.run();
  scene.check_against_oracle();
  return scene.n_dispatches();
}

void check_cases(const std::vector<MatMulCase>& cases) {
  for (const auto& gpu : test::gpus()) {
    for (const MatMulCase& matmul_case : cases) check_case(*gpu, matmul_case);
  }
}

/// Some n_in of a format, odd in its units: no whole octet for floats, an odd number of blocks for the others.
uint32_t odd_n_in(WeightFormat format) {
  const uint32_t block_weights = format::info(format).block_weights;
  return block_weights == 1 ? 83 : 3 * block_weights;
}

/// The ways a product is used in rwkv7_forward.cpp and some more.
struct Kind {
  const char* name;
  bool output_f32, accumulate, of_squares, over_outputs;
  bool used = true;
};
constexpr Kind kKinds[] = {{"activations", false, false, false, false},
                           {"f32", true, false, false, false, false},
                           {"accumulated activations", false, true, false, false, false},
                           {"accumulated f32", true, true, false, false},
                           {"accumulated f32 of squares", true, true, true, false},
                           {"f32 over outputs", true, false, false, true}};

/// Those with lots of their own, and one of those without.
constexpr WeightFormat kLotFormats[] = {WeightFormat::f16,  WeightFormat::q8_0, WeightFormat::q4_0, WeightFormat::q4_k,
                                        WeightFormat::q5_k, WeightFormat::q6_k, WeightFormat::q5_1};

MatMulCase of_kind(const Kind& kind, WeightFormat format, uint32_t n_columns) {
  return {fmt::format("{}, {}, {} columns", format::info(format).name, kind.name, n_columns),
          {{13, odd_n_in(format), format}},
          n_columns,
          kind.output_f32,
          kind.accumulate,
          kind.of_squares,
          kind.over_outputs};
}

void check_formats(std::span<const WeightFormat> formats, const std::vector<uint32_t>& numbers_of_columns) {
  std::vector<MatMulCase> cases;
  for (const WeightFormat format : formats) {
    for (const uint32_t n_columns : numbers_of_columns) cases.push_back(of_kind(kKinds[0], format, n_columns));
  }
  check_cases(cases);
}

}  // namespace

TEST_SUITE_BEGIN("matmul");

TEST_CASE("common formats, few columns") { check_formats(test::kCommonFormats, {3}); }

// Software Vulkan takes some 10 s for each: of floats and of quantised blocks one; `slow` has all.
TEST_CASE("floats and blocks, many columns") {
  constexpr WeightFormat kFormats[] = {WeightFormat::f16, WeightFormat::q4_k};
  check_formats(kFormats, {19});
}

TEST_CASE("every kind of output and input that the forward pass uses, few columns and many") {
  std::vector<MatMulCase> cases;
  for (const Kind& kind : kKinds) {
    if (!kind.used) continue;
    for (const uint32_t n_columns : {3u, 19u}) cases.push_back(of_kind(kind, WeightFormat::f16, n_columns));
  }
  check_cases(cases);
}

TEST_CASE("numbers of columns on both sides of every kernel's width") {
  std::vector<MatMulCase> cases;
  for (const uint32_t n : {1u, 2u, 4u, 5u, 8u, 15u, 16u, 17u, 32u, 255u, 256u, 257u, 512u}) {
    cases.push_back({fmt::format("{} columns", n), {{13, 83}}, n});
  }
  check_cases(cases);
}

TEST_CASE("numbers of rows and of inputs on both sides of every tile") {
  std::vector<MatMulCase> cases;
  for (const uint32_t n_columns : {3u, 19u}) {
    for (const uint32_t n_rows : {1u, 3u, 4u, 5u, 15u, 16u, 17u, 63u, 64u, 65u, 255u, 256u, 257u, 513u}) {
      cases.push_back({fmt::format("{} rows, {} columns", n_rows, n_columns), {{n_rows, 40}}, n_columns});
    }
    // 64 invocations of T0 and 4 to 64 of a subgroup take 8 inputs each at a time.
    for (const uint32_t n_in : {1u, 7u, 8u, 9u, 63u, 65u, 511u, 512u, 513u, 519u, 1030u}) {
      cases.push_back({fmt::format("{} inputs, {} columns", n_in, n_columns), {{9, n_in}}, n_columns});
    }
  }
  cases.push_back({"one element", {{1, 1}}, 1});
  check_cases(cases);
}

TEST_CASE("every tile of T2, of every format, on both sides of its rows, columns and steps") {
  for (const auto& gpu : test::gpus()) {
    if (gpu->device.tier() != gpu::Tier::t2) continue;
    for (const kernels::MatMulTile& tile : kernels::tiles_of(gpu->device)) {
      for (const WeightFormat format : kLotFormats) {
        for (const uint32_t n_columns : {5u, 16u, 17u, 33u, 129u, 145u}) {
          for (const uint32_t n_rows : {15u, 65u, 161u}) {
            const bool blocks = format::info(format).block_weights > 1;
            MatMulCase one{fmt::format("{} x {}, {} rows, {} columns, {}", tile.subgroups_m * tile.tiles_m,
                                       tile.subgroups_n * tile.tiles_n, n_rows, n_columns, format::info(format).name),
                           {{n_rows, blocks ? 512u : 331u, format}, {17, blocks ? 256u : 40u, format}},
                           n_columns,
                           true};
            one.tile = tile;
            check_case(*gpu, one);
          }
        }
      }
    }
  }
}

TEST_CASE("long rows in parts, which another dispatch sums") {
  for (const auto& gpu : test::gpus()) {
    if (gpu->device.tier() != gpu::Tier::t2) continue;
    for (const WeightFormat format : kLotFormats) {
      for (const uint32_t n_columns : {5u, 33u, 129u}) {
        for (const uint32_t n_parts : {2u, 4u, 8u}) {
          MatMulCase one{fmt::format("{} parts, {} columns, {}", n_parts, n_columns, format::info(format).name),
                         {{76, 2048, format}},
                         n_columns,
                         true,
                         true,
                         format == WeightFormat::q4_k};
          one.n_parts = n_parts;
          CHECK(check_case(*gpu, one) == 2);
        }
      }
    }
  }
}

TEST_CASE("rows summed by workgroups of every size, whatever the adapter prefers") {
  std::vector<MatMulCase> cases;
  for (const uint32_t n_columns : {1u, 7u}) {
    for (const uint32_t n_in : {40u, 600u, 1030u}) {
      MatMulCase by_workgroup{fmt::format("{} inputs, {} columns", n_in, n_columns), {{9, n_in}, {5, 33}}, n_columns};
      by_workgroup.vec_team = kernels::VecTeam::workgroup;
      cases.push_back(by_workgroup);
    }
  }
  check_cases(cases);
}

TEST_CASE("groups: inputs, outputs, sizes and activations of their own, as the low-rank pairs have them") {
  const std::vector<test::SegmentCase> down = {{64, 100, WeightFormat::f16, Activation::tanh},
                                               {24, 100, WeightFormat::f16, Activation::none},
                                               {17, 100, WeightFormat::f16, Activation::sigmoid},
                                               {129, 100, WeightFormat::f16, Activation::squared_relu}};
  const std::vector<test::SegmentCase> up = {{100, 64}, {100, 24}, {100, 17}, {100, 129},
                                             {300, 7},  {1, 1},    {5, 300},  {257, 9}};
  std::vector<test::SegmentCase> nine(up);
  nine.push_back({31, 33});
  check_cases(
      {{"down, few", down, 3}, {"down, many", down, 19}, {"up, few", up, 3}, {"up, many", up, 19}, {"nine", nine, 3}});
}

TEST_CASE("formats mixed in a group: one dispatch for each, every result in its place") {
  const std::vector<test::SegmentCase> mixed = {{9, 256, WeightFormat::q4_k, Activation::none},
                                                {20, 256, WeightFormat::f16, Activation::tanh},
                                                {11, 512, WeightFormat::q6_k, Activation::none},
                                                {7, 768, WeightFormat::q4_k, Activation::squared_relu}};
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    MatMulScene scene(*gpu, {"mixed", mixed, 3});
    scene.run();
    CHECK(scene.n_dispatches() == 3);
    scene.check_against_oracle();
  }
}

TEST_CASE("tanh and sigmoid keep their ends, relu^2 keeps what f16 could not square") {
  std::vector<MatMulCase> cases;
  for (const uint32_t n_columns : {3u, 19u}) {
    for (const Activation activation : {Activation::tanh, Activation::sigmoid}) {
      // Sums of about 1e4: exp(-sum) overflows f32.
      cases.push_back({"large sums", {{13, 83, WeightFormat::f16, activation}}, n_columns});
      cases.back().input_scale = 3e3f;
    }
    // Sums of 1e3 and more, whose squares are beyond f16, and a product of such squares.
    cases.push_back({"large hidden values", {{13, 83, WeightFormat::f16, Activation::squared_relu}}, n_columns});
    cases.back().input_scale = 1e2f;
    MatMulCase squares = of_kind(kKinds[4], WeightFormat::f16, n_columns);
    squares.why = "large squares";
    squares.input_scale = 1e3f;
    cases.push_back(squares);
  }
  check_cases(cases);
}

TEST_CASE("weights beyond a binding are split by rows, at offsets that no binding can begin at") {
  MatMulCase split{"1 MiB bindings", {{2000, 333}, {70, 40}, {1800, 500}}, 3};
  split.binding_bytes_max = 1 << 20;
  for (const auto& gpu : test::gpus()) {
    for (const uint32_t n_columns : {3u, 19u}) {
      split.n_columns = n_columns;
      INFO(gpu->name(), ", ", n_columns);
      MatMulScene scene(*gpu, split);
      scene.run();
      CHECK(scene.n_dispatches() >= 3);
      scene.check_against_oracle();
    }
  }
}

TEST_CASE("rows that lie together are split where eight end") {
  // 288 bytes a row: a binding that begins on 256 bytes holds 49 rows, of which 48 are eights.
  MatMulCase split{"14.1 KiB bindings", {{147, 512, WeightFormat::q4_k}, {5, 256, WeightFormat::q4_k}}, 3};
  split.binding_bytes_max = 256 + 49 * 288;
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    MatMulScene scene(*gpu, split);
    scene.run();
    CHECK(scene.n_dispatches() >= 4);
    scene.check_against_oracle();
  }
}

TEST_CASE("a row that no binding holds is refused") {
  for (const auto& gpu : test::gpus()) {
    MatMulCase refused{"4 KiB bindings", {{3, 4000}}, 3};
    refused.binding_bytes_max = 4096;
    MatMulScene scene(*gpu, refused);
    CHECK_THROWS_AS(scene.run(), Error);
  }
}

TEST_CASE("more rows than a dimension of the grid has workgroups") {
  std::vector<MatMulCase> cases;
  for (const uint32_t n_rows : {65536u, 65537u}) {
    for (const uint32_t n_columns : {1u, 19u})
      cases.push_back({fmt::format("{} rows", n_rows), {{n_rows, 8}}, n_columns});
  }
  check_cases(cases);
  // Four rows a workgroup on T0: this one folds, and the second segment begins in the second row of the grid.
  for (const auto& gpu : test::gpus()) {
    if (gpu->half()) continue;
    MatMulScene scene(*gpu, {"folded", {{262145, 8}, {6, 8}}, 1});
    scene.run();
    CHECK(scene.plan().dispatches().at(0).grid.y == 2);
    scene.check_against_oracle();
  }
}

TEST_CASE("exact: a column alone has the bits that it has among 1 to 40") {
  for (const auto& gpu : test::gpus()) {
    for (const WeightFormat format : {WeightFormat::f16, WeightFormat::q4_k}) {
      INFO(gpu->name(), " ", format::info(format).name);
      MatMulCase alone = of_kind(kKinds[0], format, 1);
      alone.mode = MatMulMode::exact;
      std::mt19937 random(5);
      const std::vector<float> input = test::random_values(random, alone.segments[0].n_in);
      MatMulScene reference(*gpu, alone);
      reference.set_input(0, 0, input);
      reference.run();
      reference.check_against_oracle();
      const std::vector<float> expected = reference.column(0, 0);
      for (uint32_t n_columns = 2; n_columns <= 40; ++n_columns) {
        MatMulCase among = alone;
        among.n_columns = n_columns;
        const uint32_t place = n_columns * 5 / 7;
        MatMulScene scene(*gpu, among);
        scene.set_input(0, place, input);
        scene.run();
        CHECK_MESSAGE(test::same(scene.column(0, place), expected), n_columns, " columns");
      }
    }
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow");

TEST_CASE("matmul: weights of a small deviation, whose scales are subnormal in f16") {
  std::vector<MatMulCase> cases;
  for (const WeightFormat format : format::kWeightFormats) {
    if (format::info(format).block_weights == 1) continue;
    MatMulCase head{std::string(format::info(format).name), {{300, 256, format}}, 19, true};
    head.over_outputs = true;
    head.weight_scale = 0.125f;
    cases.push_back(head);
  }
  check_cases(cases);
}

TEST_CASE("matmul: the other formats, few columns and many") { check_formats(test::other_formats(), {3, 19}); }

TEST_CASE("matmul: every common format, kind and kernel") {
  std::vector<MatMulCase> cases;
  for (const WeightFormat format : test::kCommonFormats) {
    for (const Kind& kind : kKinds) {
      for (const uint32_t n_columns : {1u, 2u, 3u, 7u, 19u}) cases.push_back(of_kind(kind, format, n_columns));
    }
  }
  check_cases(cases);
}

TEST_SUITE_END();
