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
  size_t n_allocations = 0, n_allocated_bytes = 0, n_gpu_objects = 0, n_submits = 0;
  size_t n_queue_writes = 0, n_clears = 0, n_copies = 0, n_waits = 0;
};
// One thread uses an engine; its own worker threads, which must not write here, are gone after loading.
Counts counts;

void count(size_t& counter, size_t n = 1) {
  if (counts.on) counter += n;
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
void __real_wgpuQueueWriteBuffer(void* queue, void* buffer, uint64_t offset, const void* data, size_t n);
void __real_wgpuCommandEncoderClearBuffer(void* encoder, void* buffer, uint64_t offset, uint64_t n);
void __real_wgpuCommandEncoderCopyBufferToBuffer(void* encoder, void* from, uint64_t from_offset, void* to,
                                                 uint64_t to_offset, uint64_t n);
uint32_t __real_wgpuInstanceWaitAny(void* instance, size_t n, void* futures, uint64_t timeout_ns);

void* __wrap__Znwm(size_t n) {
  count(counts.n_allocations);
  count(counts.n_allocated_bytes, n);
  return __real__Znwm(n);
}
void* __wrap__Znam(size_t n) {
  count(counts.n_allocations);
  count(counts.n_allocated_bytes, n);
  return __real__Znam(n);
}
void* __wrap__ZnwmSt11align_val_t(size_t n, std::align_val_t alignment) {
  count(counts.n_allocations);
  count(counts.n_allocated_bytes, n);
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
void __wrap_wgpuQueueWriteBuffer(void* queue, void* buffer, uint64_t offset, const void* data, size_t n) {
  count(counts.n_queue_writes);
  __real_wgpuQueueWriteBuffer(queue, buffer, offset, data, n);
}
void __wrap_wgpuCommandEncoderClearBuffer(void* encoder, void* buffer, uint64_t offset, uint64_t n) {
  count(counts.n_clears);
  __real_wgpuCommandEncoderClearBuffer(encoder, buffer, offset, n);
}
void __wrap_wgpuCommandEncoderCopyBufferToBuffer(void* encoder, void* from, uint64_t from_offset, void* to,
                                                 uint64_t to_offset, uint64_t n) {
  count(counts.n_copies);
  __real_wgpuCommandEncoderCopyBufferToBuffer(encoder, from, from_offset, to, to_offset, n);
}
uint32_t __wrap_wgpuInstanceWaitAny(void* instance, size_t n, void* futures, uint64_t timeout_ns) {
  count(counts.n_waits);
  return __real_wgpuInstanceWaitAny(instance, n, futures, timeout_ns);
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

  TEST_CASE("a state goes to the GPU and comes back in one piece, copied once on the host") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const ModelInfo& model = engine->model();
    Session session = engine->new_session(), other = engine->new_session();
    session.feed(prompt("Once upon a time"));
    const auto snapshot = std::make_shared<const SessionSnapshot>(session.snapshot());
    const size_t state_bytes = snapshot->state.wkv.size() * 4;
    // Counts and control block too; a layer has a wkv state and two shifts.
    const size_t n_copies = 3 * size_t(model.n_layer) + 2;
    for (const bool first : {true, false}) {
      counts = {.on = true};
      other.restore(snapshot);
      counts.on = false;
      if (first) continue;  // which makes the buffer
      CHECK(counts.n_copies == n_copies);
      CHECK(counts.n_submits == 1);
      CHECK(counts.n_queue_writes + counts.n_clears + counts.n_gpu_objects == 0);
      CHECK(counts.n_allocated_bytes < state_bytes / 10);
    }
    counts = {.on = true};
    const SessionSnapshot again = other.snapshot();
    counts.on = false;
    CHECK(counts.n_copies == n_copies + 1);
    CHECK(counts.n_submits == 2);
    CHECK(counts.n_gpu_objects == 0);
    CHECK(counts.n_allocated_bytes > state_bytes);
    CHECK(counts.n_allocated_bytes < state_bytes * 3 / 2);
    check_same(again, *snapshot);
  }

  TEST_CASE("a reset takes one submit, whatever the layers") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    counts = {.on = true};
    session.reset();
    counts.on = false;
    CHECK(counts.n_submits == 1);
    CHECK(counts.n_clears + counts.n_queue_writes <= 3);
    CHECK(counts.n_copies + counts.n_gpu_objects + counts.n_waits == 0);
  }

  TEST_CASE("feeding a long text waits for steps that are some behind, and reads nothing") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    constexpr size_t kSteps = 6;
    const std::vector<uint32_t> ids(kSteps * engine->chunk(), prompt("the").front());
    counts = {.on = true};
    session.feed(ids);
    counts.on = false;
    CHECK(counts.n_submits == kSteps);
    CHECK(counts.n_waits >= kSteps - 4);
    CHECK(counts.n_copies == 0);
    counts = {.on = true};
    session.wait();
    counts.on = false;
    CHECK(counts.n_waits == 1);
    CHECK(counts.n_copies + counts.n_submits == 0);
  }
}
