// src/gpu/uniforms.cpp: the arena of uniform tables.
#include "gpu/uniforms.hpp"

#include "base/bytes.hpp"

namespace ravenwing::gpu {
namespace {
constexpr uint64_t kBufferBytes = 64 << 10;
constexpr uint64_t kAlignment = 256;  // WebGPU's default minUniformBufferOffsetAlignment
}  // namespace

BufferView UniformArena::store(std::span<const std::byte> bytes) {
  RAVENWING_CHECK(bytes.size() % 4 == 0 && bytes.size() <= kBufferBytes);
  const std::vector<std::byte> key(bytes.begin(), bytes.end());
  const auto found = views_.find(key);
  if (found != views_.end()) return found->second;
  if (buffers_.empty() || used_ + bytes.size() > kBufferBytes) {
    buffers_.push_back(std::make_unique<Buffer>(device_.create_buffer(
        kBufferBytes, wgpu::BufferUsage::Uniform | wgpu::BufferUsage::CopyDst, Account::scratch, "uniforms")));
    used_ = 0;
  }
  const BufferView view(*buffers_.back(), used_, bytes.size());
  device_.write(*buffers_.back(), used_, bytes);
  used_ = round_up(used_ + bytes.size(), kAlignment);
  return views_.emplace(key, view).first->second;
}

}  // namespace ravenwing::gpu
