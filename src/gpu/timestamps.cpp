// src/gpu/timestamps.cpp
#include "gpu/timestamps.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace ravenwing::gpu {
namespace {

constexpr size_t kPassesMax = 2048;  // half of the queries that a set may have
constexpr int kClockReadings = 8;
constexpr int kRounds = 3;
constexpr uint64_t kHourNs = uint64_t(3600) * 1'000'000'000;

uint64_t host_ns() {
  return uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

/// Reads the clock around passes.
class PassTimer {
 public:
  PassTimer(Device& device, uint32_t n_passes) : device_(device), n_queries_(2 * n_passes) {
    wgpu::QuerySetDescriptor descriptor;
    descriptor.type = wgpu::QueryType::Timestamp;
    descriptor.count = n_queries_;
    queries_ = device.handle().CreateQuerySet(&descriptor);
    const wgpu::BufferUsage usage = wgpu::BufferUsage::QueryResolve | wgpu::BufferUsage::CopySrc;
    resolved_ = device.create_buffer(n_queries_ * 8, usage, Account::staging, "timestamps");
  }

  wgpu::ComputePassEncoder begin_pass(const wgpu::CommandEncoder& encoder, uint32_t index) const {
    wgpu::PassTimestampWrites writes;
    writes.querySet = queries_;
    writes.beginningOfPassWriteIndex = 2 * index;
    writes.endOfPassWriteIndex = 2 * index + 1;
    wgpu::ComputePassDescriptor descriptor;
    descriptor.timestampWrites = &writes;
    return encoder.BeginComputePass(&descriptor);
  }
  wgpu::CommandBuffer finish(const wgpu::CommandEncoder& encoder) const {
    encoder.ResolveQuerySet(queries_, 0, n_queries_, resolved_.handle(), 0);
    return encoder.Finish();
  }
  /// Waits for the passes.
  std::vector<std::optional<Span>> read() {
    const std::vector<std::byte> bytes = device_.read(resolved_);
    std::vector<std::optional<Span>> spans;
    for (size_t at = 0; at < bytes.size(); at += 16) {
      uint64_t begin_ns = 0, end_ns = 0;
      std::memcpy(&begin_ns, &bytes[at], 8);
      std::memcpy(&end_ns, &bytes[at + 8], 8);
      device_.faults().distort(begin_ns, end_ns);
      spans.push_back(sound_span(begin_ns, end_ns));
    }
    return spans;
  }

 private:
  Device& device_;
  uint32_t n_queries_;
  wgpu::QuerySet queries_;
  Buffer resolved_;
};

/// Work takes time; a pass of nothing may take none.
std::optional<Span> if_lasting(const std::optional<Span>& span) {
  return span && span->end_ns > span->begin_ns ? span : std::nullopt;
}

/// What is known of the offset of two clocks.
struct Bounds {
  int64_t low = INT64_MIN, high = INT64_MAX;

  /// `inner` on the GPU lies within `outer` on the host.
  void note(const Span& inner, const Span& outer) {
    low = std::max(low, int64_t(outer.begin_ns - inner.begin_ns));
    high = std::min(high, int64_t(outer.end_ns - inner.end_ns));
  }
};

/// Those of one set of queries, dispatches [begin, end) of the plan.
void time_some(Device& device, const Plan& plan, size_t begin, size_t end, TimedDispatches& timed) {
  PassTimer timer(device, uint32_t(end - begin));
  const uint64_t encode_ns = host_ns();
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  for (size_t i = begin; i < end; ++i) {
    const wgpu::ComputePassEncoder pass = timer.begin_pass(encoder, uint32_t(i - begin));
    encode(pass, plan.dispatches()[i]);
    pass.End();
  }
  const wgpu::CommandBuffer commands = timer.finish(encoder);
  const uint64_t submit_ns = host_ns();
  device.submit(commands);
  const uint64_t wait_ns = host_ns();
  device.wait_idle();
  timed.host.push_back({"encode", {encode_ns, submit_ns}});
  timed.host.push_back({"submit", {submit_ns, wait_ns}});
  timed.host.push_back({"wait", {wait_ns, host_ns()}});
  for (const std::optional<Span>& span : timer.read()) timed.spans.push_back(if_lasting(span));
}

std::optional<ClockOffset> clock_offset(Device& device) {
  Bounds bounds;
  for (int i = 0; i < kClockReadings; ++i) {
    PassTimer timer(device, 1);
    const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
    timer.begin_pass(encoder, 0).End();
    const wgpu::CommandBuffer commands = timer.finish(encoder);
    const uint64_t begin_ns = host_ns();
    device.submit(commands);
    device.wait_idle();
    const uint64_t end_ns = host_ns();
    if (const std::optional<Span> span = timer.read().front()) bounds.note(*span, {begin_ns, end_ns});
  }
  if (bounds.low == INT64_MIN || bounds.low > bounds.high) return std::nullopt;
  const int64_t width = bounds.high - bounds.low;
  return ClockOffset{bounds.low + width / 2, width / 2};
}

/// The clock may jump between two dispatches: leaves out what is an hour and more away from the middle one.
void leave_out_strays(std::vector<std::optional<Span>>& spans) {
  std::vector<uint64_t> begins_ns;
  for (const std::optional<Span>& span : spans) {
    if (span) begins_ns.push_back(span->begin_ns);
  }
  if (begins_ns.empty()) return;
  const auto middle = begins_ns.begin() + ptrdiff_t(begins_ns.size() / 2);
  std::nth_element(begins_ns.begin(), middle, begins_ns.end());
  for (std::optional<Span>& span : spans) {
    if (span && std::max(span->begin_ns, *middle) - std::min(span->begin_ns, *middle) >= kHourNs) span.reset();
  }
}

}  // namespace

std::optional<Span> sound_span(uint64_t begin_ns, uint64_t end_ns) {
  if (begin_ns == 0 || end_ns < begin_ns || end_ns - begin_ns >= kHourNs) return std::nullopt;
  return Span{begin_ns, end_ns};
}

TimedDispatches time_dispatches(Device& device, const Plan& plan) {
  TimedDispatches timed;
  timed.clock = clock_offset(device);
  for (size_t begin = 0; begin < plan.dispatches().size(); begin += kPassesMax)
    time_some(device, plan, begin, std::min(begin + kPassesMax, plan.dispatches().size()), timed);
  leave_out_strays(timed.spans);
  return timed;
}

std::optional<double> time_pass(Device& device, const std::function<void(const wgpu::ComputePassEncoder&)>& encode) {
  std::optional<PassTimer> timer;
  if (device.handle().HasFeature(wgpu::FeatureName::TimestampQuery)) timer.emplace(device, 1);
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  const wgpu::ComputePassEncoder pass = timer ? timer->begin_pass(encoder, 0) : encoder.BeginComputePass();
  encode(pass);
  pass.End();
  const wgpu::CommandBuffer commands = timer ? timer->finish(encoder) : encoder.Finish();
  const uint64_t begin_ns = host_ns();
  device.submit(commands);
  device.wait_idle();
  const double host_seconds = 1e-9 * double(host_ns() - begin_ns);
  if (!timer) return host_seconds;
  const std::optional<Span> span = if_lasting(timer->read().front());
  if (!span) return std::nullopt;
  return 1e-9 * double(span->end_ns - span->begin_ns);
}

std::optional<double> measure_plan(Device& device, const Plan& plan, double pass_seconds, uint32_t n_max) {
  const auto time = [&](uint32_t n) {
    return time_pass(device, [&](const wgpu::ComputePassEncoder& pass) {
      for (uint32_t i = 0; i < n; ++i) plan.encode(pass);
    });
  };
  time(1);  // what is used for the first time may have to be made first
  const double wanted = pass_seconds / std::max(time(1).value_or(pass_seconds), 1e-9);
  const uint32_t n = uint32_t(std::clamp(std::ceil(wanted), 1.0, double(n_max)));
  std::optional<double> best;
  for (int round = 0; round < kRounds; ++round) {
    const std::optional<double> seconds = time(n);
    if (seconds && (!best || *seconds < *best)) best = seconds;
  }
  if (best) *best /= n;
  return best;
}

std::optional<Span> time_plan(Device& device, const Plan& plan) {
  PassTimer timer(device, 1);
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  const wgpu::ComputePassEncoder pass = timer.begin_pass(encoder, 0);
  plan.encode(pass);
  pass.End();
  device.submit(timer.finish(encoder));
  return if_lasting(timer.read().front());
}

}  // namespace ravenwing::gpu
