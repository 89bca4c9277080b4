// src/gpu/readback.cpp: the ring of buffers that results come back in.
#include "gpu/readback.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace ravenwing::gpu {

ReadbackRing::ReadbackRing(Device& device, uint32_t n_max, uint64_t bytes_max) : device_(device), slots_(n_max) {
  for (Slot& slot : slots_) {
    slot.buffer = device.create_buffer(bytes_max, wgpu::BufferUsage::MapRead | wgpu::BufferUsage::CopyDst,
                                       Account::staging, "readback");
  }
}

void ReadbackRing::copy(const wgpu::CommandEncoder& encoder, const BufferView& view) {
  const uint32_t n_before = n_sent_ + n_recorded_;
  RAVENWING_CHECK(n_before < slots_.size() && view.size > 0 && view.size <= next(n_before).buffer.size());
  Slot& slot = next(n_before);
  slot.size = view.size;
  encoder.CopyBufferToBuffer(view.buffer, view.offset, slot.buffer.handle(), 0, round_up(view.size, 4));
  ++n_recorded_;
}

void ReadbackRing::send() {
  // Whether the map succeeded is asked of the buffer, so that the callback refers to nothing that may be gone by then.
  // Events that nobody waits for, of forgotten results, end with the device's next check().
  for (; n_recorded_ > 0; --n_recorded_, ++n_sent_) {
    Slot& slot = next(n_sent_);
    slot.mapped = slot.buffer.handle().MapAsync(wgpu::MapMode::Read, 0, round_up(slot.size, 4),
                                                wgpu::CallbackMode::AllowProcessEvents,
                                                [](wgpu::MapAsyncStatus, wgpu::StringView) {});
  }
}

void ReadbackRing::take(std::span<std::byte> bytes) {
  RAVENWING_CHECK(n_sent_ > 0 && bytes.size() <= oldest().size);
  const Slot& slot = oldest();
  first_ = (first_ + 1) % uint32_t(slots_.size());
  --n_sent_;
  device_.wait(slot.mapped);
  device_.check();
  if (slot.buffer.handle().GetMapState() != wgpu::BufferMapState::Mapped)
    fail(ErrorCode::device_lost, "[device] {} did not give back results", device_.info().name);
  const auto* data = static_cast<const std::byte*>(slot.buffer.handle().GetConstMappedRange(0, round_up(slot.size, 4)));
  std::copy_n(data, bytes.size(), bytes.begin());
  slot.buffer.handle().Unmap();
}

void ReadbackRing::forget() {
  for (; n_sent_ > 0; --n_sent_) {
    oldest().buffer.handle().Unmap();
    first_ = (first_ + 1) % uint32_t(slots_.size());
  }
}

}  // namespace ravenwing::gpu
