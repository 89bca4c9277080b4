// tests/model/perplexity_test.cpp: mean negative log likelihood of a text that the model never saw, against llama.cpp's
// on the same file and the fp32 reference's.
//
// Software Vulkan computes some 75 tokens a second in large steps and 16 in steps of one, so the whole text on each
// tier would take ten minutes. CI has the whole text on T1 and 1 024 tokens on T0, for F16 and Q4_K_M, and 128 tokens
// in small steps; the slow tests have the whole text on both tiers for every format, and 512 tokens in small steps.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "model/support.hpp"
#include "support/files.hpp"
#include "support/npy.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

constexpr double kSmallStepsBound = 0.003;  // nats a token, against large steps
constexpr double kTierBound = 0.003;        // the same, T0 against T1 where nobody else has a figure

double llamacpp_nats(const std::string& format) {
  std::ifstream in(golden_folder() / "perplexity.json");
  return nlohmann::json::parse(in)["llamacpp"][format];
}

template <typename T>
double mean(const std::vector<T>& values, size_t n) {
  REQUIRE(n <= values.size());
  return std::accumulate(values.begin(), values.begin() + std::ptrdiff_t(n), 0.0) / double(n);
}

void check_small_steps(rwkv7::Model& model, std::span<const uint32_t> ids, const std::vector<double>& expected) {
  for (const size_t step : {1, 8}) {
    const double found = mean(likelihoods(model, ids, step), ids.size() - 1);
    const double at_once = mean(expected, ids.size() - 1);
    CAPTURE(step);
    CHECK(std::abs(found - at_once) <= kSmallStepsBound);
    MESSAGE(fmt::format("{} tokens in steps of {}: {:.6f}, at once {:.6f}", ids.size(), step, found, at_once));
  }
}

struct Measured {
  std::vector<double> likelihoods;
  double nats() const { return mean(likelihoods, likelihoods.size()); }
};

Measured measure(gpu::Device& device, const std::string& format, size_t n_tokens, size_t n_small_steps) {
  GpuModel loaded(device, *tiny_gguf(format));
  const Ids ids = validation_ids();
  REQUIRE(ids.size() == 4096);
  Measured measured{likelihoods(loaded.model, std::span(ids).first(n_tokens), loaded.model.tokens_max())};
  check_small_steps(loaded.model, std::span(ids).first(n_small_steps), measured.likelihoods);
  return measured;
}

void check_whole_text(Tier tier, const std::string& format, double bound, size_t n_small_steps) {
  const auto device = open_device(tier);
  if (!device || !tiny_gguf(format)) return;
  const Measured measured = measure(*device, format, 4096, n_small_steps);
  CHECK(std::abs(measured.nats() - llamacpp_nats(format)) <= bound);
  MESSAGE(fmt::format("{} {}: {:.6f} nats a token, llama.cpp {:.6f}", gpu::name(tier), format, measured.nats(),
                      llamacpp_nats(format)));
}

/// The whole text on T1, its beginning on T0. The F16 weights have the fp32 reference's figure for any beginning;
/// for others T1's must serve, once its own is known to be right.
void check_for_ci(const std::string& format, double bound) {
  constexpr size_t kBeginning = 512;
  constexpr size_t kSmallSteps = 64;
  const auto t0 = open_device(Tier::t0), t1 = open_device(Tier::t1);
  if (!t0 || !t1 || !tiny_gguf(format)) return;
  const Measured whole = measure(*t1, format, 4096, kSmallSteps);
  CHECK(std::abs(whole.nats() - llamacpp_nats(format)) <= bound);
  const Measured beginning = measure(*t0, format, kBeginning, kSmallSteps);
  const double on_t1 = mean(whole.likelihoods, kBeginning - 1);
  CHECK(std::abs(beginning.nats() - on_t1) <= kTierBound);
  if (format == "F16") {
    const std::vector<float> reference = read_npy(golden_folder() / "validation.nll.npy").values;
    CHECK(std::abs(beginning.nats() - mean(reference, kBeginning - 1)) <= bound);
    MESSAGE(fmt::format("the reference's first {}: {:.6f}", kBeginning, mean(reference, kBeginning - 1)));
  }
  MESSAGE(fmt::format("T1 {}: {:.6f} nats a token, llama.cpp {:.6f}; first {}: T0 {:.6f}, T1 {:.6f}", format,
                      whole.nats(), llamacpp_nats(format), kBeginning, beginning.nats(), on_t1));
}

/// The whole text on T0 and T1, 512 tokens of it in small steps. Software Vulkan, which takes an hour for that, scores
/// as much as CI does.
void check_thoroughly(const std::string& format, double bound) {
  const auto device = open_device(Tier::t0);
  if (!device) return;
  if (device->info().software) return check_for_ci(format, bound);
  for (const Tier tier : {Tier::t0, Tier::t1}) check_whole_text(tier, format, bound, 512);
}

}  // namespace

TEST_SUITE("perplexity_f16") {
  TEST_CASE("perplexity of F16 is llama.cpp's") { check_for_ci("F16", 0.002); }
}

TEST_SUITE("perplexity_slow") {
  TEST_CASE("perplexity of F16 is llama.cpp's on both tiers") { check_thoroughly("F16", 0.002); }
  TEST_CASE("perplexity of Q8_0 is llama.cpp's on both tiers") { check_thoroughly("Q8_0", 0.002); }
  TEST_CASE("perplexity of Q4_K_M is llama.cpp's on both tiers") { check_thoroughly("Q4_K_M", 0.003); }
  TEST_CASE("perplexity of Q6_K is llama.cpp's on both tiers") { check_thoroughly("Q6_K", 0.003); }
  TEST_CASE("perplexity of Q4_0 is llama.cpp's on both tiers") { check_thoroughly("Q4_0", 0.003); }
  TEST_CASE("perplexity of Q5_K_M is llama.cpp's on both tiers") { check_thoroughly("Q5_K_M", 0.003); }
  TEST_CASE("perplexity of Q3_K_M is llama.cpp's on both tiers") { check_thoroughly("Q3_K_M", 0.003); }
  TEST_CASE("perplexity of Q2_K is llama.cpp's on both tiers") { check_thoroughly("Q2_K", 0.003); }
}

TEST_SUITE("t2") {
  TEST_CASE("perplexity of every file is llama.cpp's on T2") {
    for (const char* format : {"F16", "Q8_0"}) check_whole_text(Tier::t2, format, 0.002, 512);
    for (const char* format : {"Q4_K_M", "Q6_K", "Q4_0", "Q5_K_M", "Q3_K_M", "Q2_K"})
      check_whole_text(Tier::t2, format, 0.003, 512);
  }
}
