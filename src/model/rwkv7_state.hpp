// The states of all sequences in GPU memory, by slot.
#pragma once

#include <array>
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

/// The same where it lies.
struct StateView {
  StateView(std::span<const float> time, std::span<const float> states, std::span<const float> channel)
      : time_shift(time), wkv(states), channel_shift(channel) {}
  StateView(const HostState& state)  // NOLINT: a state is its own view
      : StateView(state.time_shift, state.wkv, state.channel_shift) {}
  std::span<const float> time_shift, wkv, channel_shift;
};

/// What sampling remembers of a text.
struct SamplingMemory {
  std::vector<float> counts;  // [n_vocab]
  float mirostat_mu = 0;
};

/// wkv states, [layer][slot][head][i][j], f32 or f16, in as few arenas as bindings allow; the shift states of all
/// layers in one more. For sampling: control blocks, counts of generated tokens (4 * n_vocab bytes a slot) and
/// additions to logits (16 KiB a slot). What sampling remembers of a text is in its counts and its control block.
class StateArenas {
 public:
  static constexpr uint32_t kPlaces = 2;  // of checkpoints of a slot

  StateArenas(gpu::Device& device, const Config& config, uint32_t n_slots, StateStorage storage);

  /// A buffer's layers, [layer][slot, slot_bytes]: of wkv states, or of shift states, two to a layer.
  struct Arena {
    gpu::BufferView states;
    uint32_t n_layers = 0;
    uint64_t layer_bytes = 0, slot_bytes = 0;
  };
  std::vector<Arena> arenas() const;

  uint32_t n_slots() const { return n_slots_; }
  StateStorage storage() const { return storage_; }
  gpu::BufferView wkv(uint32_t layer) const;
  const gpu::Buffer& shifts() const { return shifts_; }
  gpu::BufferView time_shift(uint32_t layer) const { return shift(2 * layer); }
  gpu::BufferView channel_shift(uint32_t layer) const { return shift(2 * layer + 1); }
  const gpu::Buffer& control() const { return control_; }
  const gpu::Buffer& counts() const { return counts_; }
  /// The part of counts() that is the slot's, [n_vocab] f32.
  gpu::BufferView counts_of(uint32_t slot) const;
  const gpu::Buffer& additions() const { return additions_; }

  void copy(uint32_t from, uint32_t to);
  /// All of a slot to a buffer of kept_bytes(), and back.
  void copy_out(uint32_t slot, const gpu::Buffer& to);
  void copy_in(const gpu::Buffer& from, uint32_t slot);
  uint64_t kept_bytes() const;
  /// Keeps a copy of the slot, in one of two places per slot; the memory of both is made with the first.
  void checkpoint(uint32_t slot, uint32_t place);
  void roll_back(uint32_t slot, uint32_t place);
  void write_control(uint32_t slot, const kernels::ControlBlock& block);
  /// The same for a request on a text that goes on: leaves what outlives requests, mirostat_mu, as it is.
  void begin_request(uint32_t slot, const kernels::ControlBlock& block);
  /// At most kAdditionsMax, each id once; they hold for every draw until the next call or request.
  void write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions);
  kernels::ControlBlock read_control(uint32_t slot);
  void write_mirostat_mu(uint32_t slot, float mu);
  /// In float, whatever the storage. `memory`: to be filled, too. `used`: whose memory the result takes.
  HostState read(uint32_t slot, SamplingMemory* memory = nullptr, HostState used = {});
  /// Of one layer: [n_head, head_size, head_size].
  std::vector<float> read_wkv(uint32_t layer, uint32_t slot);
  /// What penalties count: [n_vocab].
  std::vector<float> read_counts(uint32_t slot);
  void write_counts(uint32_t slot, std::span<const float> counts);
  /// Makes the slot that of a text which stands there; rounds to the storage. No counts: all 0. The rest of the control
  /// block is as in a new one.
  void write(uint32_t slot, const StateView& state, std::span<const float> counts = {}, float mirostat_mu = 0);

 private:
  gpu::BufferView shift(uint32_t index) const;
  /// Of a layer.
  uint64_t wkv_values() const { return uint64_t(config_.n_embd) * config_.head_size; }
  uint64_t wkv_slot_bytes() const { return wkv_values() * value_bytes(storage_); }
  uint64_t counts_slot_bytes() const { return uint64_t(config_.n_vocab) * 4; }
  uint64_t shift_slot_bytes() const { return uint64_t(config_.n_embd) * 4; }
  /// Calls visit(buffer, offset, bytes) for each stretch of a slot's state: wkv, time shift, channel shift of each
  /// layer.
  template <typename Visit>
  void for_each_kept(uint32_t slot, Visit visit) const;
  uint64_t state_bytes() const { return config_.n_layer * (wkv_slot_bytes() + 2 * shift_slot_bytes()); }
  void make_passage();
  /// Of wkv states as the storage has them.
  void read_values(std::span<const std::byte> wkv, std::vector<float>& values) const;
  void copy_in(const wgpu::CommandEncoder& encoder, const wgpu::Buffer& from, uint32_t slot) const;
  template <typename Visit>
  void for_each_stretch(uint32_t slot, Visit visit) const;

  gpu::Device& device_;
  Config config_;
  uint32_t n_slots_;
  StateStorage storage_;
  uint32_t layers_per_arena_;
  std::vector<gpu::Buffer> wkv_;
  gpu::Buffer shifts_;  // [layer, 2][slot, n_embd], each pair of layer and kind aligned for a binding
  gpu::Buffer control_;
  gpu::Buffer passage_;                                        // of copy() and read()
  std::vector<std::array<gpu::Buffer, kPlaces>> checkpoints_;  // by slot
  gpu::Buffer counts_;                                         // [slot, n_vocab] f32
  gpu::Buffer additions_;                                      // [slot, kAdditionsMax] LogitAddition
};

}  // namespace ravenwing::rwkv7
