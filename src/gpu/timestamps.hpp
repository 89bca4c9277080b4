// The GPU's clock, read before and after dispatches.
#pragma once

#include <optional>
#include <vector>

#include "gpu/device.hpp"
#include "gpu/plan.hpp"

namespace ravenwing::gpu {

/// When a dispatch began and ended, nanoseconds of the GPU's clock; none where the clock ran backwards.
struct Span {
  uint64_t begin_ns = 0, end_ns = 0;
};

/// Runs a plan with every dispatch in a pass of its own, which costs some microseconds each, and times them. The device
/// must have been opened with timestamps.
std::vector<std::optional<Span>> time_dispatches(Device& device, const Plan& plan);

/// Runs a plan as steps do, in one pass, and times it as a whole. None where the clock ran backwards.
std::optional<Span> time_plan(Device& device, const Plan& plan);

}  // namespace ravenwing::gpu
