// tests/model/tuning_test.cpp: what a tuner compares, and what it makes of numbers that are wrong.
#include <doctest/doctest.h>

#include <cmath>

#include "model/support.hpp"
#include "model/tuner.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using format::WeightFormat;

namespace {

/// None where the adapter does not reach the tier.
std::unique_ptr<TuningStage> stage(gpu::Tier tier) {
  auto device = test::open_device(tier);
  return device ? std::make_unique<TuningStage>(std::move(device)) : nullptr;
}

TuningJob job_of(const kernels::MatMulKey& key) {
  return {name(key), key, {key.format, {{key.n_rows, key.n_in}}, true}};
}

}  // namespace

TEST_SUITE_BEGIN("tuning");

TEST_CASE("rounding is let pass, an element that is wrong is not") {
  std::vector<float> expected(1000);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = std::sin(float(i));
  std::vector<float> found = expected;
  CHECK(compare_results(found, expected) == "");
  for (float& value : found) value += 0.003f;
  CHECK(compare_results(found, expected) == "");
  for (const float wrong : {expected[501], 0.0f, NAN, INFINITY}) {
    found = expected;
    found[500] = wrong;
    CHECK(compare_results(found, expected).starts_with("wrong numbers"));
  }
  // Many small ones are as bad as a large one.
  found = expected;
  for (float& value : found) value *= 1.05f;
  CHECK(compare_results(found, expected).starts_with("wrong numbers"));
  CHECK(compare_results(std::vector<float>(9, 0), std::vector<float>(9, 0)) != "");
}

TEST_CASE("a tuner writes down what it measured, and stops where it is told to") {
  const auto on = stage(gpu::Tier::t0);
  if (!on) return;
  const test::TemporaryFolder folder;
  TuningFile file(folder / "tuning", "key");
  const TuningJob job = job_of({WeightFormat::f16, 64, 64, 1});
  struct Stop {};
  int n_checks = 0;
  Tuner stopped(*on, file, [&] {
    if (++n_checks == 5) throw Stop();
  });
  CHECK_THROWS_AS(stopped.run(job), Stop);
  CHECK(file.entries().empty());
  Tuner tuner(*on, file, [] {});
  size_t n_readings = 0;
  tuner.on_reading = [&](const TuneReading& reading) {
    ++n_readings;
    CHECK((reading.us > 0) == reading.rejected.empty());
  };
  const TunedSubject found = tuner.run(job);
  CHECK(found.reason == "");
  CHECK(n_readings == kernels::matmul_choices(on->device(), 1).size() + 1);
  const TuningFile read(folder / "tuning", "key");
  REQUIRE(read.find(job.subject) != nullptr);
  CHECK(read.find(job.subject)->choice == found.choice);
  CHECK((found.choice == "default" || found.us <= 0.97 * found.default_us));
  // What does not fit the device is no error, and is not written down.
  CHECK(tuner.run(job_of({WeightFormat::f16, 1u << 22, 1u << 15, 1})).reason != "");
  CHECK(file.entries().size() == 1);
}

TEST_CASE("a chunk is believed only if an engine could have it") {
  const rwkv7::Config config{.n_layer = 6, .n_embd = 512, .n_ffn = 1536};
  for (const auto& [choice, expected] :
       {std::pair("1024", 1024u), std::pair("128", 128u), std::pair("default", 0u), std::pair("4096", 0u),
        std::pair("100", 0u), std::pair("0", 0u), std::pair("-1", 0u), std::pair("1024x", 0u), std::pair("1", 0u)}) {
    TuningFile file("", "key");
    file.set(chunk_subject(config), {choice, 2, 1});
    CHECK_MESSAGE(tuned_chunk(file, config).value_or(0) == expected, choice);
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("tuning_slow");

TEST_CASE("every form of the recurrence and every kernel of a product gives what the reference gives") {
  const auto on = stage(gpu::Tier::t1);
  if (!on) return;
  const kernels::TimeMixKey key{128, 64, 1, 16};
  const Trial time_mix = on->trial_of({name(key), key, {}});
  const auto expected = on->results_of(time_mix, {}, true);
  REQUIRE(expected.size() == 2);
  for (const kernels::TimeMixForm form : {kernels::TimeMixForm::tokens, kernels::TimeMixForm::pairs}) {
    kernels::Tuning tuning;
    tuning.time_mixes[key] = {form};
    const auto found = on->results_of(time_mix, tuning, false);
    CHECK(compare_results(found[0], expected[0]) == "");
    CHECK(compare_results(found[1], expected[1]) == "");
    CHECK(on->time(time_mix, on->plan_of(time_mix, tuning), time_mix.steps.front(), 1) > 0);
  }
  const kernels::MatMulKey product{WeightFormat::q4_k, 300, 512, 8};
  const Trial trial = on->trial_of(job_of(product));
  kernels::Tuning mat;
  mat.matmuls[product] = {.kernel = kernels::MatMulKernel::mat};
  const auto right = on->results_of(trial, {}, true), by_mat = on->results_of(trial, mat, false);
  CHECK(compare_results(by_mat[0], right[0]) == "");
  CHECK(right[0].front() != right[0].back());
}

TEST_SUITE_END();
