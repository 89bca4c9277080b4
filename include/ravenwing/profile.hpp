// Where the time of a step goes, by the GPU's own clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// One dispatch of a step.
struct ProfiledDispatch {
  std::string label;               // layer and role: "L03.time_mix.output Q4_K"
  std::optional<double> begin_us;  // since the first dispatch that was timed; none where the GPU's clock gave no sense
  std::optional<double> us;
  uint64_t bytes = 0,
           flops = 0;  // that it must move (weights and states, else activations), of products and recurrence
};

/// Something that the host did while the dispatches were timed.
struct ProfiledHostSpan {
  std::string name;             // "encode", "submit", "wait"
  double begin_us = 0, us = 0;  // since the first of them began
};

struct StepProfile {
  std::vector<ProfiledDispatch> dispatches;  // in the order in which they run
  std::vector<ProfiledHostSpan> host;
  /// When the first dispatch began by the host's clock, and how far off that may be; none where the two clocks
  /// contradict each other.
  std::optional<double> gpu_begin_us;
  double clock_error_us = 0;
  double encode_us = 0;          // the CPU's time to record and submit the step
  double step_us = 0;            // from one step to the next when steps run one after another, unprofiled
  std::optional<double> gpu_us;  // of a step as a whole; none where the GPU's clock gave no sense
};

/// How steps reach the GPU's queue, for measuring. As requests run: one step in one submit.
struct SubmitShape {
  static constexpr uint32_t kStepsMax = 64;
  uint32_t steps = 1;       // in one submit
  uint32_t dispatches = 0;  // of a step in one submit, where that is less than a step; 0: all
};

struct SubmitReading {
  double us = 0;              // a token
  std::vector<uint32_t> ids;  // the same for every shape
};

/// What steps found ready and what had to be made for them, since the engine was opened.
struct StepCacheUse {
  struct Count {
    uint64_t hits = 0, misses = 0;
  };
  Count plans;                   // lists of dispatches, one for each size class of steps
  Count pipelines, bind_groups;  // one of each for every dispatch that ran
  uint64_t buffers_made = 0;     // on the GPU; there is no pool: steps use those that are there
};

/// What simple kernels reach on a device: the measure of all others.
struct MeasuredLimits {
  double read_bytes_s = 0;
  double copy_bytes_s = 0;    // bytes read and bytes written
  double flops_s = 0;         // of subgroup matrices on T2, of multiply-adds in f32, or f16 if that is faster, below
  double dispatch_us = 0;     // of an empty dispatch that waits for the one before
  uint64_t stream_bytes = 0;  // of the memory that was read and copied

  /// How near to the limits such work is, 1: at one of them.
  double share(uint64_t bytes, uint64_t flops, double us) const {
    const double memory = std::max(read_bytes_s, copy_bytes_s);
    if (us <= 0 || memory <= 0 || flops_s <= 0) return 0;
    return std::max(double(bytes) / memory, double(flops) / flops_s) / us * 1e6;
  }
};

}  // namespace ravenwing
#pragma GCC visibility pop
