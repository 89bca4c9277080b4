// The GPU: choosing an adapter, opening a device at a tier, buffers and their accounts, errors.
#pragma once

#include <webgpu/webgpu_cpp.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "gpu/blob_cache.hpp"
#include "gpu/faults.hpp"
#include "ravenwing/device_info.hpp"

namespace ravenwing::gpu {

/// What kernels may use. A tier may only make things faster.
enum class Tier : uint8_t {
  t0,  // default WebGPU limits and nothing more: f32, reductions through workgroup memory
  t1,  // + shader-f16 and subgroups
  t2,  // + subgroup matrices of f16
};

std::string_view name(Tier tier);
/// The tier of a name, in either case.
std::optional<Tier> tier_named(std::string_view name);

/// The product that subgroups multiply at once: M x K times K x N, of f16.
struct MatrixShape {
  uint32_t m = 0, n = 0, k = 0;
  bool f16_sums = false;  // where the adapter cannot sum in f32
  bool operator==(const MatrixShape&) const = default;
};

struct DeviceOptions {
  /// "" takes the first hardware adapter, else software Vulkan; "software"; an index of list_devices(); part of a name.
  std::string selector;
  std::optional<Tier> tier;            // force a lower tier
  bool f16_sums = false;               // for tests: subgroup matrices as on an adapter that cannot sum in f32
  std::filesystem::path cache_folder;  // where compiled shaders are kept (gpu/blob_cache.hpp); "": nowhere
  bool validate = true;                // have WebGPU check calls, and shaders every index
  bool timestamps = false;             // for gpu/timestamps.hpp
  std::string fallback;                // as in DeviceInfo
};

struct FoundAdapter;  // gpu/adapters.hpp

/// Names the WebGPU library in use. Dawn's own keys name a version, and builds of one version differ.
std::string library_id();

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
  /// On an adapter that was chosen before; the selector is not looked at.
  Device(FoundAdapter found, const DeviceOptions& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceInfo& info() const { return info_; }
  Tier tier() const { return tier_; }
  /// The best that the adapter can do.
  Tier best_tier() const { return best_tier_; }
  /// Of subgroup matrices; zero below T2.
  MatrixShape matrix_shape() const { return matrix_shape_; }
  const DeviceLimits& limits() const { return info_.limits; }
  const wgpu::Device& handle() const { return device_; }
  const wgpu::Queue& queue() const { return queue_; }

  /// A zeroed buffer; size is rounded up to 4 bytes. Throws Error{out_of_memory}.
  Buffer create_buffer(uint64_t size, wgpu::BufferUsage usage, Account account, const std::string& label);
  /// A storage buffer that can be written, copied from and copied to.
  Buffer create_storage(uint64_t size, Account account, const std::string& label);

  /// Copies bytes into a buffer before anything submitted later; offset and size in multiples of 4.
  void write(const Buffer& buffer, uint64_t offset, std::span<const std::byte> bytes);
  void submit(const wgpu::CommandBuffer& commands) { submit(std::span(&commands, 1)); }
  /// All at once, in this order.
  void submit(std::span<const wgpu::CommandBuffer> commands);
  /// Copies part of a buffer to the host once all work submitted so far is done. For tests and rare reads.
  std::vector<std::byte> read(const BufferView& view);
  /// The same, where the copy lies: visit() may not read in turn.
  void read(const BufferView& view, const std::function<void(std::span<const std::byte>)>& visit);
  /// The other way: fill() writes `size` bytes where the GPU sees them, copy() records what they are copied to. What
  /// was staged before must have been copied, which is waited for.
  void stage(uint64_t size, const std::function<void(std::span<std::byte>)>& fill,
             const std::function<void(const wgpu::CommandEncoder&, const wgpu::Buffer& from)>& copy);
  /// Waits for a future; throws if the device is lost meanwhile.
  void wait(wgpu::Future future);
  /// Comes when all that is submitted by now is done.
  wgpu::Future mark();
  /// Waits until all submitted work is done.
  void wait_idle();
  /// Throws what the device's callbacks have stored since the last call.
  void check();
  /// Whether the GPU is gone.
  bool is_lost();

  /// Of the cache of compiled shaders; zeros without one.
  BlobCache::Counts cache_counts() const { return cache_ ? cache_->counts() : BlobCache::Counts{}; }
  /// For tests: creates buffers as if there were no memory for the `n`-th from now, 0 for the next.
  void fail_buffer(uint64_t n) { buffer_to_fail_ = n_buffers_ + n; }
  /// For tests; at first those of the environment.
  Faults& faults() { return faults_; }
  /// For tests: the device is gone from here on.
  void lose() { device_.ForceLoss(wgpu::DeviceLostReason::Unknown, "a test said so"); }

  uint64_t bytes_used(Account account) const { return used_[size_t(account)]; }
  /// The most that all accounts held at once.
  uint64_t bytes_peak() const { return peak_; }
  /// Created so far, or tried to.
  uint64_t n_buffers() const { return n_buffers_; }

 private:
  struct Errors;
  /// What a host writes to; mapped, or about to be.
  struct Stage {
    Buffer buffer;
    wgpu::Future mapping{};
  };
  Stage make_stage(uint64_t size);
  std::unique_ptr<BlobCache> cache_;  // first: Dawn asks it as long as the device lives
  wgpu::Instance instance_;
  wgpu::Device device_;
  wgpu::Queue queue_;
  DeviceInfo info_;
  Tier tier_ = Tier::t0, best_tier_ = Tier::t0;
  MatrixShape matrix_shape_;
  // Shared with the device's callbacks, which may come after ~Device.
  std::shared_ptr<Errors> errors_;
  std::array<std::atomic<uint64_t>, kAccountCount> used_{};
  uint64_t peak_ = 0;       // of their sum
  Buffer kept_read_;        // what reads copy to
  Stage kept_stage_;        // what stage() copies from
  uint64_t n_buffers_ = 0;  // created or tried
  std::optional<uint64_t> buffer_to_fail_;
  Faults faults_ = Faults::from_environment();
};

}  // namespace ravenwing::gpu
