// What tests make go wrong on a GPU that is sound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ravenwing::gpu {

struct Faults {
  /// What becomes of a pair of readings of the GPU's clock: one that ends before it begins, none at all, one that took
  /// hours.
  enum class Clock : uint8_t { sound, backwards, zero, hours };
  std::vector<Clock> clock;  // of one pair after another, then again from the first; none: all are sound

  /// As RAVENWING_TEST_CLOCK says: "sound,backwards". What it does not name is left out.
  static Faults from_environment();
  /// The next pair.
  void distort(uint64_t& begin_ns, uint64_t& end_ns);

 private:
  size_t n_pairs_ = 0;
};

}  // namespace ravenwing::gpu
