// Where the time of a step goes, by the GPU's own clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// One dispatch of a step.
struct ProfiledDispatch {
  std::string label;               // layer and role: "L03.time_mix.output Q4_K"
  std::optional<double> begin_us;  // since the step's first dispatch began; none where the GPU's clock gave no sense
  std::optional<double> us;
  uint64_t bytes = 0, flops = 0;  // of weights and states, of products and recurrence; 0 where they are not counted
};

struct StepProfile {
  std::vector<ProfiledDispatch> dispatches;  // in the order in which they run
  double encode_us = 0;                      // the CPU's time to record and submit the step
  double step_us = 0;                        // from one step to the next when steps run one after another, unprofiled
  std::optional<double> gpu_us;              // of a step as a whole; none where the GPU's clock gave no sense
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

}  // namespace ravenwing
#pragma GCC visibility pop
