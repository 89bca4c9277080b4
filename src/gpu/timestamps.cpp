// src/gpu/timestamps.cpp
#include "gpu/timestamps.hpp"

#include <algorithm>
#include <cstring>

namespace ravenwing::gpu {
namespace {

constexpr size_t kDispatchesMax = 2048;  // half of the queries that a set may have

/// Passes that read the clock when they begin and when they end.
class TimedPasses {
 public:
  TimedPasses(Device& device, uint32_t n_passes)
      : device_(device), n_queries_(2 * n_passes), encoder_(device.handle().CreateCommandEncoder()) {
    wgpu::QuerySetDescriptor descriptor;
    descriptor.type = wgpu::QueryType::Timestamp;
    descriptor.count = n_queries_;
    queries_ = device.handle().CreateQuerySet(&descriptor);
  }

  wgpu::ComputePassEncoder begin() {
    wgpu::PassTimestampWrites writes;
    writes.querySet = queries_;
    writes.beginningOfPassWriteIndex = n_begun_++;
    writes.endOfPassWriteIndex = n_begun_++;
    wgpu::ComputePassDescriptor descriptor;
    descriptor.timestampWrites = &writes;
    return encoder_.BeginComputePass(&descriptor);
  }

  /// Runs all that was recorded; waits.
  std::vector<std::optional<Span>> run() {
    const wgpu::BufferUsage usage = wgpu::BufferUsage::QueryResolve | wgpu::BufferUsage::CopySrc;
    const Buffer resolved = device_.create_buffer(n_queries_ * 8, usage, Account::staging, "timestamps");
    encoder_.ResolveQuerySet(queries_, 0, n_queries_, resolved.handle(), 0);
    device_.submit(encoder_.Finish());
    const std::vector<std::byte> bytes = device_.read(resolved);
    std::vector<std::optional<Span>> spans;
    for (size_t at = 0; at < bytes.size(); at += 16) {
      Span span;
      std::memcpy(&span.begin_ns, &bytes[at], 8);
      std::memcpy(&span.end_ns, &bytes[at + 8], 8);
      const bool is_sound = span.begin_ns != 0 && span.begin_ns <= span.end_ns;
      spans.push_back(is_sound ? std::optional(span) : std::nullopt);
    }
    return spans;
  }

 private:
  Device& device_;
  uint32_t n_queries_, n_begun_ = 0;
  wgpu::CommandEncoder encoder_;
  wgpu::QuerySet queries_;
};

}  // namespace

std::vector<std::optional<Span>> time_dispatches(Device& device, const Plan& plan) {
  std::vector<std::optional<Span>> spans;
  const std::vector<Dispatch>& dispatches = plan.dispatches();
  for (size_t begin = 0; begin < dispatches.size(); begin += kDispatchesMax) {
    const size_t end = std::min(begin + kDispatchesMax, dispatches.size());
    TimedPasses passes(device, uint32_t(end - begin));
    for (size_t i = begin; i < end; ++i) {
      const wgpu::ComputePassEncoder pass = passes.begin();
      encode(pass, dispatches[i]);
      pass.End();
    }
    const auto some = passes.run();
    spans.insert(spans.end(), some.begin(), some.end());
  }
  return spans;
}

std::optional<Span> time_plan(Device& device, const Plan& plan) {
  TimedPasses passes(device, 1);
  const wgpu::ComputePassEncoder pass = passes.begin();
  plan.encode(pass);
  pass.End();
  return passes.run().front();
}

}  // namespace ravenwing::gpu
