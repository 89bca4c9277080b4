// tests/engine/allocation_test.cpp: what a decode step allocates, and how many of them are on their way.
// The linker sends this program's own calls of these functions through the counters below (--wrap, CMakeLists.txt).
// What the WebGPU library allocates for itself is not counted, and operator new stays what it is.
#include <doctest/doctest.h>

#include <cstddef>
#include <new>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

struct Counts {
  bool on = false;
  size_t n_allocations = 0, n_gpu_objects = 0, n_submits = 0;
};
// One thread uses an engine; its own worker threads, which must not write here, are gone after loading.
Counts counts;

void count(size_t& counter) {
  if (counts.on) ++counter;
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
extern "C" {
void* __real__Znwm(size_t n);
void* __real__Znam(size_t n);
void* __real__ZnwmSt11align_val_t(size_t n, std::align_val_t alignment);
void* __real_wgpuDeviceCreateBuffer(void* device, const void* descriptor);
void* __real_wgpuDeviceCreateBindGroup(void* device, const void* descriptor);

void __real_wgpuQueueSubmit(void* queue, size_t n, const void* commands);

void* __wrap__Znwm(size_t n) {
  count(counts.n_allocations);
  return __real__Znwm(n);
}
void* __wrap__Znam(size_t n) {
  count(counts.n_allocations);
  return __real__Znam(n);
}
void* __wrap__ZnwmSt11align_val_t(size_t n, std::align_val_t alignment) {
  count(counts.n_allocations);
  return __real__ZnwmSt11align_val_t(n, alignment);
}
void* __wrap_wgpuDeviceCreateBuffer(void* device, const void* descriptor) {
  count(counts.n_gpu_objects);
  return __real_wgpuDeviceCreateBuffer(device, descriptor);
}
void* __wrap_wgpuDeviceCreateBindGroup(void* device, const void* descriptor) {
  count(counts.n_gpu_objects);
  return __real_wgpuDeviceCreateBindGroup(device, descriptor);
}
void __wrap_wgpuQueueSubmit(void* queue, size_t n, const void* commands) {
  count(counts.n_submits);
  __real_wgpuQueueSubmit(queue, n, commands);
}
}
// NOLINTEND

TEST_SUITE("allocation") {
  TEST_CASE("the counters count") {
    counts = {.on = true};
    delete new int(1);
    const std::string long_text(100, 'x');  // does not fit into the string itself
    counts.on = false;
    CHECK(long_text.size() == 100);
    CHECK(counts.n_allocations >= 1);
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    counts = {.on = true};
    Session(engine->new_session()).state();  // more than a small read
    counts.on = false;
    CHECK(counts.n_allocations > 1);
    CHECK(counts.n_gpu_objects > 0);
  }

  TEST_CASE("after the first steps neither memory nor a buffer nor a bind group is made") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    constexpr size_t kWarmUp = 6, kTokens = 24;  // a copy of the state lies between, the buffers are those of the first
    Session first = engine->new_session(), second = engine->new_session();
    std::vector<Request> requests = {{&first, prompt("Once upon a time"), greedy(kTokens)},
                                     {&second, prompt("The king"), greedy(kTokens)}};
    requests[0].options.stop = {"no such text is written", "\n\n\n\n"};
    requests[0].options.stop_tokens.clear();
    requests[1].options.stop_tokens.clear();
    requests[1].options.sampler = {
        .temperature = 1, .presence_penalty = 0.5f, .logit_bias = {{300, -1.0f}}, .mirostat_tau = 4};
    size_t n_pieces = 0;
    requests[1].options.on_text = [&](std::string_view) {
      ++n_pieces;
      counts.on = n_pieces >= kWarmUp && n_pieces < kTokens - 2;
      return true;
    };
    counts = {};
    const std::vector<Completion> completions = engine->generate(requests);
    counts.on = false;
    REQUIRE(n_pieces >= kTokens - 2);
    CHECK(completions[0].ids.size() == kTokens);
    CHECK(counts.n_allocations == 0);
    CHECK(counts.n_gpu_objects == 0);
  }

  TEST_CASE("several steps are submitted before the first is looked at, but not where the CPU has to see each draw") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    for (const bool needs_host : {false, true}) {
      GenerateOptions options = greedy(8);
      options.stop_tokens.clear();
      if (needs_host) options.sampler.dry_multiplier = 1;
      size_t n_at_first = 0;
      options.on_text = [&](std::string_view) {
        if (n_at_first == 0) n_at_first = counts.n_submits;
        return true;
      };
      Session session = engine->new_session();
      counts = {.on = true};
      session.generate(prompt("Once upon a time"), options);
      counts.on = false;
      // Four steps, and the copy of the state that a callback may make necessary.
      CHECK(n_at_first == (needs_host ? 1 : 4 + 1));
    }
  }
}
