// The GPU's clock, read before and after dispatches.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "gpu/device.hpp"
#include "gpu/plan.hpp"

namespace ravenwing::gpu {

/// When something began and ended, nanoseconds of one clock.
struct Span {
  uint64_t begin_ns = 0, end_ns = 0;
};

/// What two readings of the GPU's clock tell. Nothing where they cannot be true of a pass: one is missing, which reads
/// as zero, the clock ran backwards, or an hour went by.
std::optional<Span> sound_span(uint64_t begin_ns, uint64_t end_ns);

/// Something that the host did, by its steady clock.
struct HostSpan {
  const char* name;
  Span span;
};

/// A host's time is the GPU's plus the offset, give or take the error: from passes that began after they were submitted
/// and ended before the host knew. Nanoseconds.
struct ClockOffset {
  int64_t offset_ns = 0, error_ns = 0;
};

struct TimedDispatches {
  std::vector<std::optional<Span>> spans;  // by the GPU's clock, one for each; none where it gave no sense
  std::vector<HostSpan> host;
  std::optional<ClockOffset> clock;  // none where the two clocks contradict each other
};

/// Runs a plan with every dispatch in a pass of its own, which costs some microseconds each, and times them. The device
/// must have been opened with timestamps.
TimedDispatches time_dispatches(Device& device, const Plan& plan);

/// Seconds that the GPU takes for a pass: by its own clock where the device was opened with timestamps, else by the
/// host's, from submitting to idle, which adds some 0.1 ms. None where the GPU's clock gave no sense.
std::optional<double> time_pass(Device& device, const std::function<void(const wgpu::ComputePassEncoder&)>& encode);

/// Seconds that the GPU takes for a plan: the best of several passes in which it runs as often as fills `pass_seconds`,
/// at most `n_max` times. None where none of them could be timed.
std::optional<double> measure_plan(Device& device, const Plan& plan, double pass_seconds, uint32_t n_max);

/// What to tell a user of a clock that gave no sense.
inline constexpr std::string_view kNoSense =
    "the GPU's clock gave no sense: times of zero, that ran backwards or took hours";

/// Runs a plan as steps do, in one pass, and times it as a whole. None where the clock gave no sense.
std::optional<Span> time_plan(Device& device, const Plan& plan);

}  // namespace ravenwing::gpu
