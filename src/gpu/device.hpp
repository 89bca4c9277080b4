// The GPU: choosing an adapter, opening a device at a tier, buffers and their accounts, errors.
#pragma once

#include <webgpu/webgpu_cpp.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace ravenwing::gpu {

/// What kernels may use. A tier may only make things faster.
enum class Tier : uint8_t {
  t0,  // default WebGPU limits and nothing more: f32, reductions through workgroup memory
  t1,  // + shader-f16 and subgroups
};

std::string_view name(Tier tier);

struct Limits {
  uint64_t buffer_bytes_max = 0;
  uint64_t binding_bytes_max = 0;  // of one storage binding
  uint32_t binding_alignment = 256;
  uint32_t workgroups_per_dimension_max = 0;
  uint32_t invocations_per_workgroup_max = 0;
  uint32_t workgroup_storage_bytes_max = 0;
  uint32_t storage_buffers_per_stage_max = 0;
};

/// An adapter as `devices` and `doctor` show it.
struct AdapterSummary {
  std::string name, driver, vendor, backend, type;
  uint32_t vendor_id = 0, device_id = 0;
  bool software = false;
  uint32_t subgroup_size_min = 0, subgroup_size_max = 0;
  Tier tier = Tier::t0;  // the best that it can do
  Limits limits;         // what it offers
  std::vector<std::string> features;
};

struct DeviceOptions {
  /// "" takes the first hardware adapter, else software Vulkan; "software"; an index of list_adapters(); part of a name.
  std::string selector;
  std::optional<Tier> tier;  // force a lower tier
};

/// All adapters, hardware first. The software adapter is listed where its driver is found.
std::vector<AdapterSummary> list_adapters();

/// What a buffer is for; memory is counted per account.
enum class Account : uint8_t { weights, state, scratch, staging };
inline constexpr size_t kAccountCount = 4;

class Device;

/// A GPU buffer, zero when made; move-only. The device must outlive it.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer();
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;

  const wgpu::Buffer& handle() const { return handle_; }
  uint64_t size() const { return size_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  friend class Device;
  wgpu::Buffer handle_;
  uint64_t size_ = 0;
  Account account_ = Account::scratch;
  std::atomic<uint64_t>* used_ = nullptr;
};

/// A stretch of a buffer, by value; never an owner.
struct BufferView {
  wgpu::Buffer buffer;
  uint64_t offset = 0;
  uint64_t size = 0;

  BufferView() = default;
  BufferView(const Buffer& whole) : buffer(whole.handle()), size(whole.size()) {}  // NOLINT: a buffer is its own view
  BufferView(const Buffer& whole, uint64_t begin, uint64_t n) : buffer(whole.handle()), offset(begin), size(n) {
    RAVENWING_CHECK(begin + n <= whole.size());
  }
};

/// An open device and its queue. Calls throw Error{device_lost} once the GPU is gone and Error{out_of_memory} where an
/// allocation did not succeed; any other message of WebGPU is a bug of ours and thrown as std::logic_error by check().
class Device {
 public:
  explicit Device(const DeviceOptions& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const AdapterSummary& adapter() const { return adapter_; }
  Tier tier() const { return tier_; }
  const Limits& limits() const { return limits_; }
  const wgpu::Device& handle() const { return device_; }
  const wgpu::Queue& queue() const { return queue_; }

  /// A zeroed buffer; size is rounded up to 4 bytes. Throws Error{out_of_memory}.
  Buffer create_buffer(uint64_t size, wgpu::BufferUsage usage, Account account, const std::string& label);
  /// A storage buffer that can be written, copied from and copied to.
  Buffer create_storage(uint64_t size, Account account, const std::string& label);

  /// Copies bytes into a buffer before anything submitted later; offset and size in multiples of 4.
  void write(const Buffer& buffer, uint64_t offset, std::span<const std::byte> bytes);
  void submit(const wgpu::CommandBuffer& commands);
  /// Copies part of a buffer to the host once all work submitted so far is done. For tests and rare reads.
  std::vector<std::byte> read(const BufferView& view);
  /// Waits for a future; throws if the device is lost meanwhile.
  void wait(wgpu::Future future);
  /// Waits until all submitted work is done.
  void wait_idle();
  /// Throws what the device's callbacks have stored since the last call.
  void check();

  uint64_t bytes_used(Account account) const { return used_[size_t(account)]; }

 private:
  struct Errors;
  wgpu::Instance instance_;
  wgpu::Device device_;
  wgpu::Queue queue_;
  AdapterSummary adapter_;
  Tier tier_ = Tier::t0;
  Limits limits_;
  // Shared with the device's callbacks, which may come after ~Device.
  std::shared_ptr<Errors> errors_;
  std::array<std::atomic<uint64_t>, kAccountCount> used_{};
  Buffer small_read_;
};

}  // namespace ravenwing::gpu
