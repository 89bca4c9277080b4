// src/engine/self_test.cpp: does this device compute what the CPU reference computes?
#include <cmath>

#include "base/error.hpp"
#include "model/runner.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {
namespace {

/// "Once upon a time" in the demo model's vocabulary.
constexpr uint32_t kPrompt[] = {2397, 3662, 286, 3631};

struct ExpectedLogit {
  uint32_t id;
  float logit;
};
/// The largest logits after it, by rwkv7::Reference on the demo model's dequantised weights.
constexpr ExpectedLogit kExpected[] = {{4752, 13.15468f}, {45, 13.14302f}, {2317, 10.20695f},
                                       {286, 10.13386f},  {883, 9.63272f}, {3620, 8.92877f}};

/// f16 activations move these logits by less than 0.01 on the devices measured; wrong kernels move them by whole
/// numbers.
constexpr float kTolerance = 0.05f;

float worst_difference(const std::vector<float>& logits) {
  float worst = 0;
  for (const ExpectedLogit& expected : kExpected) {
    const float difference = std::abs(logits[expected.id] - expected.logit);
    // Written so that NaN counts as wrong.
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

}  // namespace

std::string self_test(const std::string& device, const std::string& tier, const std::filesystem::path& model) {
  EngineOptions options;
  options.model = demo_model_path();
  options.device = device;
  options.tier = tier;
  const format::ModelFile file = format::ModelFile::open(model.empty() ? options.model : model);
  retest_tier(rwkv7::read_model_source(file), options);
  Engine engine(options);
  Session at_once = engine.new_session(), one_by_one = engine.new_session();
  const float prefill = worst_difference(at_once.logits(kPrompt));
  for (size_t i = 0; i + 1 < std::size(kPrompt); ++i) one_by_one.feed(std::span(kPrompt).subspan(i, 1));
  const float decode = worst_difference(one_by_one.logits(std::span(kPrompt).last(1)));
  const std::string line = fmt::format(
      "{} on {}: its kernels agree with the CPU; the demo model's logits are within {:.4f} (4 tokens at once) and "
      "{:.4f} (one by one) of the reference, {} allowed",
      engine.device().tier, engine.device().name, prefill, decode, kTolerance);
  if (!(prefill <= kTolerance && decode <= kTolerance))
    fail(ErrorCode::unsupported, "[self-test] wrong results: {}", line);
  return line;
}

}  // namespace ravenwing
