// src/gpu/timestamps.cpp
#include "gpu/timestamps.hpp"

#include <algorithm>
#include <cstring>

namespace ravenwing::gpu {
namespace {

constexpr size_t kDispatchesMax = 2048;  // half of the queries that a set may have

/// Those of one set of queries, dispatches [begin, end) of the plan.
void time_some(Device& device, const Plan& plan, size_t begin, size_t end, std::vector<std::optional<Span>>& spans) {
  const uint32_t n_queries = uint32_t(2 * (end - begin));
  wgpu::QuerySetDescriptor descriptor;
  descriptor.type = wgpu::QueryType::Timestamp;
  descriptor.count = n_queries;
  const wgpu::QuerySet queries = device.handle().CreateQuerySet(&descriptor);
  const wgpu::BufferUsage usage = wgpu::BufferUsage::QueryResolve | wgpu::BufferUsage::CopySrc;
  const Buffer resolved = device.create_buffer(n_queries * 8, usage, Account::staging, "timestamps");
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  for (size_t i = begin; i < end; ++i) {
    wgpu::PassTimestampWrites writes;
    writes.querySet = queries;
    writes.beginningOfPassWriteIndex = uint32_t(2 * (i - begin));
    writes.endOfPassWriteIndex = writes.beginningOfPassWriteIndex + 1;
    wgpu::ComputePassDescriptor pass_descriptor;
    pass_descriptor.timestampWrites = &writes;
    const wgpu::ComputePassEncoder pass = encoder.BeginComputePass(&pass_descriptor);
    encode(pass, plan.dispatches()[i]);
    pass.End();
  }
  encoder.ResolveQuerySet(queries, 0, n_queries, resolved.handle(), 0);
  device.submit(encoder.Finish());
  const std::vector<std::byte> bytes = device.read(resolved);
  for (size_t i = 0; i < end - begin; ++i) {
    Span span;
    std::memcpy(&span.begin_ns, &bytes[16 * i], 8);
    std::memcpy(&span.end_ns, &bytes[16 * i + 8], 8);
    const bool is_sound = span.begin_ns != 0 && span.begin_ns <= span.end_ns;
    spans.push_back(is_sound ? std::optional(span) : std::nullopt);
  }
}

}  // namespace

std::vector<std::optional<Span>> time_dispatches(Device& device, const Plan& plan) {
  std::vector<std::optional<Span>> spans;
  for (size_t begin = 0; begin < plan.dispatches().size(); begin += kDispatchesMax)
    time_some(device, plan, begin, std::min(begin + kDispatchesMax, plan.dispatches().size()), spans);
  return spans;
}

}  // namespace ravenwing::gpu
