// Small results on their way from the GPU to the host.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "gpu/device.hpp"

namespace ravenwing::gpu {

/// A ring of mapped buffers, made once: the copy of a result is part of the commands that compute it, and costs neither
/// a submit nor an allocation of its own. Results are taken in the order in which they were sent.
class ReadbackRing {
 public:
  /// Up to `n_max` results of at most `bytes_max` each on the way at once.
  ReadbackRing(Device& device, uint32_t n_max, uint64_t bytes_max);

  /// Records the copy of `view`, not empty, into the next buffer of the ring, of which one must be free.
  void copy(const wgpu::CommandEncoder& encoder, const BufferView& view);
  /// Sends all that was recorded, once its commands are submitted.
  void send();
  /// The oldest result that was sent and not taken: its first bytes.size() bytes. Waits for it. Throws
  /// Error{device_lost}.
  void take(std::span<std::byte> bytes);
  /// Gives up all that is on the way; waits for nothing.
  void forget();
  uint32_t n_sent() const { return n_sent_; }
  /// Of the oldest, bytes.
  uint64_t oldest_size() const { return slots_[first_].size; }

 private:
  struct Slot {
    Buffer buffer;
    uint64_t size = 0;  // of the result
    wgpu::Future mapped;
  };
  Slot& oldest() { return slots_[first_]; }
  Slot& next(uint32_t n_before) { return slots_[(first_ + n_before) % slots_.size()]; }

  Device& device_;
  std::vector<Slot> slots_;
  uint32_t first_ = 0, n_sent_ = 0;
  uint32_t n_recorded_ = 0;  // and not sent
};

}  // namespace ravenwing::gpu
