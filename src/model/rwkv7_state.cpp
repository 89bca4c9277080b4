// src/model/rwkv7_state.cpp: the arenas of states.
#include "model/rwkv7_state.hpp"

#include <cstring>

#include "base/bytes.hpp"

namespace ravenwing::rwkv7 {
namespace {
constexpr uint64_t kBindingAlignment = 256;
}

StateArenas::StateArenas(gpu::Device& device, const Config& config, uint32_t n_slots) : device_(device), config_(config), n_slots_(n_slots) {
  if (n_slots * wkv_slot_bytes() > device.limits().binding_bytes_max) {
    fail(ErrorCode::out_of_memory, "[state] {} sequences need {} bytes a layer, the device binds at most {}: at most {} sequences", n_slots,
         n_slots * wkv_slot_bytes(), device.limits().binding_bytes_max, device.limits().binding_bytes_max / wkv_slot_bytes());
  }
  for (uint32_t layer = 0; layer < config.n_layer; ++layer) {
    wkv_.push_back(device.create_storage(n_slots * wkv_slot_bytes(), gpu::Account::state, fmt::format("L{:02}.wkv_state", layer)));
  }
  shifts_ = device.create_storage(2 * config.n_layer * round_up(n_slots * shift_slot_bytes(), kBindingAlignment), gpu::Account::state, "shift states");
  control_ = device.create_storage(n_slots * sizeof(kernels::ControlBlock), gpu::Account::state, "control");
}

uint64_t StateArenas::slot_bytes(const Config& config) { return uint64_t(config.n_layer) * config.n_embd * (config.head_size + 2) * 4; }

gpu::BufferView StateArenas::shift(uint32_t index) const {
  const uint64_t bytes = n_slots_ * shift_slot_bytes();
  return {shifts_, index * round_up(bytes, kBindingAlignment), bytes};
}

template <typename Visit>
void StateArenas::for_each_stretch(uint32_t slot, Visit visit) const {
  RAVENWING_CHECK(slot < n_slots_);
  for (uint32_t layer = 0; layer < config_.n_layer; ++layer) visit(wkv_[layer], slot * wkv_slot_bytes(), wkv_slot_bytes());
  for (uint32_t index = 0; index < 2 * config_.n_layer; ++index) visit(shifts_, shift(index).offset + slot * shift_slot_bytes(), shift_slot_bytes());
}

void StateArenas::reset(uint32_t slot) {
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  for_each_stretch(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) { encoder.ClearBuffer(buffer.handle(), offset, bytes); });
  device_.submit(encoder.Finish());
  write_control(slot, {});
}

void StateArenas::copy(uint32_t from, uint32_t to) {
  if (from == to) return;
  // WebGPU does not copy within one buffer; the stretches go through a buffer of one slot.
  gpu::Buffer passage = device_.create_storage(slot_bytes(config_), gpu::Account::scratch, "state copy");
  const wgpu::CommandEncoder encoder = device_.handle().CreateCommandEncoder();
  uint64_t at = 0;
  for_each_stretch(from, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.CopyBufferToBuffer(buffer.handle(), offset, passage.handle(), at, bytes);
    at += bytes;
  });
  at = 0;
  for_each_stretch(to, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    encoder.CopyBufferToBuffer(passage.handle(), at, buffer.handle(), offset, bytes);
    at += bytes;
  });
  device_.submit(encoder.Finish());
  device_.wait_idle();
}

void StateArenas::write_control(uint32_t slot, const kernels::ControlBlock& block) {
  device_.write(control_, slot * sizeof(block), std::as_bytes(std::span(&block, 1)));
}

kernels::ControlBlock StateArenas::read_control(uint32_t slot) {
  kernels::ControlBlock block;
  const auto bytes = device_.read({control_, slot * sizeof(block), sizeof(block)});
  std::memcpy(&block, bytes.data(), sizeof(block));
  return block;
}

HostState StateArenas::read(uint32_t slot) {
  HostState state;
  std::vector<std::vector<float>> stretches;
  for_each_stretch(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    const auto data = device_.read({buffer, offset, bytes});
    std::vector<float>& values = stretches.emplace_back(bytes / 4);
    std::memcpy(values.data(), data.data(), bytes);
  });
  for (uint32_t i = 0; i < stretches.size(); ++i) {
    const bool is_wkv = i < config_.n_layer;
    std::vector<float>& target = is_wkv ? state.wkv : (i - config_.n_layer) % 2 == 0 ? state.time_shift : state.channel_shift;
    target.insert(target.end(), stretches[i].begin(), stretches[i].end());
  }
  return state;
}

void StateArenas::write(uint32_t slot, const HostState& state) {
  const size_t n_wkv = wkv_slot_bytes() / 4, n_shift = shift_slot_bytes() / 4;
  RAVENWING_CHECK(state.wkv.size() == n_wkv * config_.n_layer && state.time_shift.size() == n_shift * config_.n_layer &&
                  state.channel_shift.size() == n_shift * config_.n_layer);
  uint32_t i = 0;
  for_each_stretch(slot, [&](const gpu::Buffer& buffer, uint64_t offset, uint64_t bytes) {
    const uint32_t shift_index = i - config_.n_layer;
    const float* from = i < config_.n_layer ? &state.wkv[i * n_wkv] : (shift_index % 2 == 0 ? &state.time_shift : &state.channel_shift)->data() + shift_index / 2 * n_shift;
    device_.write(buffer, offset, std::as_bytes(std::span(from, bytes / 4)));
    ++i;
  });
}

}  // namespace ravenwing::rwkv7
