// tests/kernels/timestamps_test.cpp: clocks that jump, stand still or run backwards give no numbers.
#include "gpu/timestamps.hpp"

#include <algorithm>

#include "kernels/harness.hpp"
#include "kernels/limits.hpp"
#include "kernels/shaders.hpp"

using namespace ravenwing;
using Clock = gpu::Faults::Clock;

namespace {

/// A device with an open clock, and a plan of a few dispatches; null where there is no clock.
struct Timed {
  explicit Timed(uint32_t n)
      : device({.selector = test::test_device(), .validate = test::validate(), .timestamps = true}),
        pipelines(device, kernels::shader_library()) {
    words = device.create_storage(1 << 20, gpu::Account::scratch, "words");
    gpu::Recorder recorder(pipelines, plan);
    for (uint32_t i = 0; i < n; ++i) kernels::fill(recorder, words, 1);
  }
  gpu::Device device;
  gpu::PipelineCache pipelines;
  gpu::Buffer words;
  gpu::Plan plan;
};

std::unique_ptr<Timed> timed(uint32_t n) {
  if (test::gpus().empty()) return nullptr;
  try {
    return std::make_unique<Timed>(n);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    MESSAGE(std::string(error.what()));
    return nullptr;
  }
}

}  // namespace

TEST_SUITE_BEGIN("timestamps");

TEST_CASE("RELIABILITY 48: what two readings of a clock can mean") {
  constexpr uint64_t kHour = 3'600'000'000'000;
  CHECK(gpu::sound_span(5, 7)->end_ns == 7);
  CHECK(gpu::sound_span(5, 5));
  CHECK_FALSE(gpu::sound_span(7, 5));
  CHECK_FALSE(gpu::sound_span(0, 5));
  CHECK_FALSE(gpu::sound_span(0, 0));
  CHECK(gpu::sound_span(1, kHour));
  CHECK_FALSE(gpu::sound_span(1, kHour + 1));
  CHECK_FALSE(gpu::sound_span(1, UINT64_MAX));
  CHECK_FALSE(gpu::sound_span(UINT64_MAX, 1));
}

TEST_CASE("RELIABILITY 48: dispatches whose readings give no sense have no time, the others keep theirs") {
  const auto gpu = timed(8);
  if (!gpu) return;
  for (const auto& span : gpu::time_dispatches(gpu->device, gpu->plan).spans) CHECK(span);
  gpu->device.faults().clock = {Clock::sound, Clock::backwards, Clock::zero, Clock::hours};
  const auto spans = gpu::time_dispatches(gpu->device, gpu->plan).spans;
  REQUIRE(spans.size() == 8);
  for (size_t i = 0; i < spans.size(); ++i) {
    CHECK(spans[i].has_value() == (i % 4 == 0));
    if (spans[i]) CHECK(spans[i]->end_ns > spans[i]->begin_ns);
  }
}

TEST_CASE("RELIABILITY 48: figures leave single readings out; without any there is none, and limits say why") {
  const auto gpu = timed(4);
  if (!gpu) return;
  gpu->device.faults().clock = {Clock::sound, Clock::hours, Clock::backwards};
  const auto some = gpu::measure_plan(gpu->device, gpu->plan, 0, 1);
  REQUIRE(some);
  CHECK((*some > 0 && *some < 60));
  for (const Clock clock : {Clock::backwards, Clock::zero, Clock::hours}) {
    gpu->device.faults().clock = {clock};
    CHECK_FALSE(gpu::measure_plan(gpu->device, gpu->plan, 1e-3, 10));
    CHECK_FALSE(gpu::time_plan(gpu->device, gpu->plan));
    const gpu::TimedDispatches all = gpu::time_dispatches(gpu->device, gpu->plan);
    CHECK(std::none_of(all.spans.begin(), all.spans.end(), [](const auto& span) { return span.has_value(); }));
    CHECK_FALSE(all.clock);
    for (const gpu::HostSpan& host : all.host) CHECK(host.span.end_ns >= host.span.begin_ns);
    try {
      kernels::measure_limits(gpu->pipelines);
      FAIL("limits of a clock that gives no sense");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported);
      CHECK(std::string(error.what()).find("clock gave no sense") != std::string::npos);
    }
  }
}

TEST_SUITE_END();
