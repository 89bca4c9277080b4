// Small constant tables for shaders, packed into few uniform buffers.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "gpu/device.hpp"

namespace ravenwing::gpu {

/// Holds tables that never change; equal ones are stored once, so that plans of different sizes share them.
class UniformArena {
 public:
  explicit UniformArena(Device& device) : device_(device) {}
  /// A view of a copy of `bytes` (at most 64 KiB, WebGPU's default binding limit of uniforms).
  BufferView store(std::span<const std::byte> bytes);

 private:
  Device& device_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  uint64_t used_ = 0;  // of the last buffer
  std::map<std::vector<std::byte>, BufferView> views_;
};

}  // namespace ravenwing::gpu
