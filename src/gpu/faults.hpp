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

  /// Steps of more tokens than this lose the device, once `n_spared` of them went well: what a driver does whose
  /// watchdog ends long work.
  uint32_t watchdog_tokens = UINT32_MAX, n_spared = 0;

  /// Not 0: a token runs in one dispatch of so many workgroups, which wait for each other, though fewer may run at a
  /// time.
  uint32_t token_workgroups = 0;

  /// What the device has room for besides staging buffers, which come and go.
  uint64_t memory_bytes = UINT64_MAX;

  /// As RAVENWING_TEST_CLOCK says, "sound,backwards", and RAVENWING_TEST_WATCHDOG: "64" tokens or "64,2", two of them
  /// spared, RAVENWING_TEST_TOKEN_WORKGROUPS, and RAVENWING_TEST_MEMORY in bytes. What they do not name is left out.
  static Faults from_environment();
  /// The next pair.
  void distort(uint64_t& begin_ns, uint64_t& end_ns);
  /// Whether a step of that many tokens loses the device.
  bool is_too_long(uint32_t n_tokens) { return n_tokens > watchdog_tokens && (n_spared == 0 || n_spared-- == 0); }

 private:
  size_t n_pairs_ = 0;
};

}  // namespace ravenwing::gpu
