// The states of all sequences in GPU memory, by slot.
#pragma once

#include <vector>

#include "kernels/step.hpp"
#include "model/rwkv7_config.hpp"

namespace ravenwing::rwkv7 {

/// A sequence's state on the host.
struct HostState {
  std::vector<float> time_shift;     // [n_layer, n_embd]
  std::vector<float> wkv;            // [n_layer, n_head, head_size (value channel), head_size (key channel)]
  std::vector<float> channel_shift;  // [n_layer, n_embd]
};

/// One arena of wkv states per layer, [slot][head][i][j]; the shift states of all layers in one more; control blocks.
class StateArenas {
 public:
  StateArenas(gpu::Device& device, const Config& config, uint32_t n_slots);

  uint32_t n_slots() const { return n_slots_; }
  gpu::BufferView wkv(uint32_t layer) const { return wkv_[layer]; }
  gpu::BufferView time_shift(uint32_t layer) const { return shift(2 * layer); }
  gpu::BufferView channel_shift(uint32_t layer) const { return shift(2 * layer + 1); }
  const gpu::Buffer& control() const { return control_; }

  /// The state of a text that has not begun: zero.
  void reset(uint32_t slot);
  void copy(uint32_t from, uint32_t to);
  void write_control(uint32_t slot, const kernels::ControlBlock& block);
  kernels::ControlBlock read_control(uint32_t slot);
  HostState read(uint32_t slot);
  void write(uint32_t slot, const HostState& state);

  /// Bytes of one slot in all layers.
  static uint64_t slot_bytes(const Config& config);

 private:
  gpu::BufferView shift(uint32_t index) const;
  uint64_t wkv_slot_bytes() const { return uint64_t(config_.n_embd) * config_.head_size * 4; }
  uint64_t shift_slot_bytes() const { return uint64_t(config_.n_embd) * 4; }
  /// Calls visit(buffer, offset, bytes) for each stretch of a slot's state: wkv, time shift, channel shift of each layer.
  template <typename Visit>
  void for_each_stretch(uint32_t slot, Visit visit) const;

  gpu::Device& device_;
  Config config_;
  uint32_t n_slots_;
  std::vector<gpu::Buffer> wkv_;
  gpu::Buffer shifts_;  // [layer, 2][slot, n_embd], each pair of layer and kind aligned for a binding
  gpu::Buffer control_;
};

}  // namespace ravenwing::rwkv7
