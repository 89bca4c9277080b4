// tests/kernels/layer_norm_test.cpp
#include "kernels/layer_norm.hpp"

#include "kernels/values.hpp"

using namespace ravenwing;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr float kEpsilon = 1e-5f;

struct Case {
  std::string why;
  uint32_t n_embd;
  std::vector<uint32_t> tokens;  // whose rows are wanted, output by output
  uint32_t n_tokens;
  float scale = 1, offset = 0;
};

void check_case(test::Gpu& gpu, const Case& layer_norm) {
  INFO(gpu.name(), ": ", layer_norm.why, ", n_embd ", layer_norm.n_embd);
  const uint32_t n = layer_norm.n_embd;
  std::mt19937 random(n);
  test::Scene scene(gpu, kTokensMax);
  const std::vector<uint32_t> ids(layer_norm.n_tokens);
  scene.step().add_chunk({0, ids});
  for (const uint32_t token : layer_norm.tokens) scene.step().add_output({token, 0, false});
  const std::vector<float> x =
      test::random_values(random, size_t(layer_norm.n_tokens) * n, layer_norm.scale, layer_norm.offset);
  const std::vector<float> vectors = test::random_values(random, 2 * size_t(n), 2);
  const uint32_t stride = kernels::act_stride(n);
  const size_t n_rows = layer_norm.tokens.size();
  const test::Region x_region = scene.input(x), vectors_region = scene.input(vectors);
  const test::Region normed = scene.output_acts((n_rows + 1) * stride);
  scene.run([&](const kernels::Context& context) {
    kernels::layer_norm(context, "test", n, kEpsilon, scene.view(x_region), scene.view(vectors_region),
                        scene.view(normed));
  });
  test::Expected expected;
  for (const uint32_t token : layer_norm.tokens) {
    expected.add(test::layer_norm_expected(gpu, std::span(x).subspan(size_t(token) * n, n), vectors, kEpsilon, true));
    expected.add_untouched(stride - n);
  }
  expected.add_untouched(stride);
  // The mean is rounded to f32, which is as much of the deviation as the row is far from zero.
  const double mean_error = test::kF32Unit * std::abs(layer_norm.offset) / layer_norm.scale;
  test::check_close(scene.acts(normed), expected, test::nmse_max_of_acts(gpu) + 4 * mean_error * mean_error);
}

}  // namespace

TEST_SUITE_BEGIN("layer_norm");

TEST_CASE("rows of every width, those that the step's outputs name") {
  const Case cases[] = {{"one element", 1, {0}, 1},
                        {"odd", 7, {2, 0, 1}, 3},
                        {"a workgroup", 128, {4}, 5},
                        {"one more", 129, {0, 4}, 5},
                        {"no output", 129, {}, 5},
                        {"a model's", 768, {11, 3, 3, 7, 0}, 12},
                        {"many outputs", 40, std::vector<uint32_t>(300, 298), 299},
                        // Without subtracting the mean first, the variance would be lost in that of the offset.
                        {"far from zero", 768, {1}, 2, 1, 1000},
                        {"nearly constant", 257, {1}, 2, 1e-4f, 1},
                        {"large", 513, {0}, 1, 1e6f}};
  for (const auto& gpu : test::gpus()) {
    for (const Case& layer_norm : cases) check_case(*gpu, layer_norm);
  }
}

TEST_SUITE_END();
