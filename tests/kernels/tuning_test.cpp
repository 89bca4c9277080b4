// tests/kernels/tuning_test.cpp: choices by measurement: that they are taken, compute the same, and cannot be forged.
#include "kernels/tuning.hpp"

#include "base/bytes.hpp"
#include "kernels/matmul_case.hpp"

using namespace ravenwing;
using format::WeightFormat;
using kernels::MatMulChoice;
using kernels::MatMulKernel;
using kernels::VecTeam;

namespace {

constexpr uint32_t kRows = 300, kInputs = 96;

/// Of one format, one segment: what `choice` makes of it, checked against the oracle.
gpu::Grid grid_of(test::Gpu& gpu, uint32_t n_columns, const kernels::Tuning* tuning,
                  kernels::MatMulMode mode = kernels::MatMulMode::fast) {
  test::MatMulCase one{"tuned", {{kRows, kInputs}}, n_columns};
  one.mode = mode;
  one.tuning = tuning;
  test::MatMulScene scene(gpu, one);
  scene.run();
  scene.check_against_oracle();
  return scene.plan().dispatches().at(0).grid;
}

kernels::Tuning only(uint32_t n_columns, const MatMulChoice& choice) {
  kernels::Tuning tuning;
  tuning.matmuls[{WeightFormat::f16, kRows, kInputs, n_columns}] = choice;
  return tuning;
}

bool same(const gpu::Grid& a, const gpu::Grid& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

}  // namespace

TEST_SUITE_BEGIN("tuning");

TEST_CASE("the kernel that was tuned for a product computes it, and computes it right") {
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    const auto quads =
        only(4, {.kernel = MatMulKernel::vec, .team = VecTeam::workgroup, .columns = 2, .quads = 2, .lanes = 64});
    const gpu::Grid by_quads = grid_of(*gpu, 3, &quads);
    CHECK(by_quads.x == divide_up(kRows, 8));
    CHECK(by_quads.z == 2);
    const auto mat = only(4, {.kernel = MatMulKernel::mat});
    CHECK(grid_of(*gpu, 3, &mat).x == divide_up(kRows, 256));
    // Another size class and exact mode are as without.
    const auto other = only(1, {.kernel = MatMulKernel::mat});
    CHECK(same(grid_of(*gpu, 3, &other), grid_of(*gpu, 3, nullptr)));
    CHECK(same(grid_of(*gpu, 3, &mat, kernels::MatMulMode::exact),
               grid_of(*gpu, 3, nullptr, kernels::MatMulMode::exact)));
  }
}

TEST_CASE("every choice of a device has a name that gives it back") {
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    for (const uint32_t n_columns : {1u, 4u, 8u, 64u, 512u}) {
      const kernels::MatMulKey key{WeightFormat::q4_k, 2560, 256, n_columns};
      for (const MatMulChoice& choice : kernels::matmul_choices(gpu->device, n_columns)) {
        CAPTURE(name(choice));
        kernels::Tuning tuning;
        REQUIRE(kernels::add_named(tuning, gpu->device, name(key), name(choice)));
        CHECK(tuning.matmuls.at(key) == choice);
        CHECK(name(choice).find(' ') == std::string::npos);
      }
    }
    const kernels::TimeMixKey key{2560, 64, 1, 32};
    for (const kernels::TimeMixChoice& choice : kernels::time_mix_choices(gpu->device, key)) {
      kernels::Tuning tuning;
      REQUIRE(kernels::add_named(tuning, gpu->device, name(key), name(choice)));
      CHECK(tuning.time_mixes.at(key) == choice);
    }
  }
}

TEST_CASE("names that are no choice of a device are refused") {
  constexpr std::string_view kKey = "product:F16:300x96:4";
  for (const auto& gpu : test::gpus()) {
    INFO(gpu->name());
    kernels::Tuning tuning;
    for (const std::string_view choice :
         {"", "default", "mat ", "Mat", "vec", "vec:workgroup:4:1", "vec:workgroup:3:1:0", "vec:workgroup:4:1:77",
          "vec:workgroup:4:1:4294967295", "vec:automatic:4:1:0", "tile:64/64/64/64/64/64", "tile:0/1/1/1/1/32",
          "tile:4/2/1/2/4", "blocks:1", "pairs"})
      CHECK_MESSAGE(!kernels::add_named(tuning, gpu->device, kKey, choice), std::string(choice));
    for (const std::string_view key :
         {"", "product", "product:F16", "product:F17:300x96:4", "product:F16:0x96:4", "product:F16:300x96:3",
          "product:F16:300x96:0", "product:F16:300x96:4:", "product:F16:300x96:99999999999", "product:F16:-1x96:4",
          "product:F16:0300x96:4", "product:F16:300x4294967297:4", "time_mix:2560/64:1x32"})
      CHECK_MESSAGE(!kernels::add_named(tuning, gpu->device, key, "mat"), std::string(key));
    for (const std::string_view key : {"time_mix:2560/0:1x32", "time_mix:2560/66:1x32", "time_mix:100/64:1x32",
                                       "time_mix:2560/256:1x32", "time_mix:2560/64:3x32", "time_mix:2560/64:1x33"})
      CHECK_MESSAGE(!kernels::add_named(tuning, gpu->device, key, "blocks:1"), std::string(key));
    CHECK(tuning.matmuls.empty());
    CHECK(tuning.time_mixes.empty());
    // A tile is for T2 alone, subgroups for T1 and above.
    const bool has_subgroups = kernels::add_named(tuning, gpu->device, kKey, "vec:subgroup:4:4:0");
    CHECK(has_subgroups == gpu->half());
  }
}

TEST_SUITE_END();
