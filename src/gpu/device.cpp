// src/gpu/device.cpp: opening a device, buffers, reads and stored errors.
#include "gpu/device.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <numeric>

#include "base/bytes.hpp"
#include "base/resources.hpp"
#include "gpu/adapters.hpp"

namespace ravenwing::gpu {

namespace {

constexpr std::string_view kTierNames[] = {"T0", "T1", "T2"};

}  // namespace

std::string_view name(Tier tier) { return kTierNames[size_t(tier)]; }

std::optional<Tier> tier_named(std::string_view name) {
  for (size_t i = 0; i < std::size(kTierNames); ++i) {
    if (name.size() == 2 && (name[0] == 'T' || name[0] == 't') && name[1] == kTierNames[i][1]) return Tier(i);
  }
  return std::nullopt;
}

std::string library_id() { return binary_id(dlsym(RTLD_DEFAULT, "wgpuCreateInstance")); }

/// What callbacks stored: they only note, foreground calls throw (check).
struct Device::Errors {
  std::mutex mutex;
  std::string lost;      // not empty: the device is gone
  std::string internal;  // first uncaptured error
};

namespace {

constexpr uint64_t kSmallReadBytes = 64 << 10, kKeptBytes = 64 << 20;

constexpr std::string_view kSmallerText = "a smaller quantisation of the model or fewer sessions take less";

constexpr std::string_view kLostText =
    "where its driver ended a step that took too long, fewer tokens a step (--chunk), a smaller model or a longer "
    "limit "
    "(Windows: TdrDelay) help";

double mebibytes(uint64_t bytes) { return double(bytes) / (1 << 20); }

/// What every account holds.
std::string memory_text(std::span<const std::atomic<uint64_t>, kAccountCount> used) {
  return fmt::format("{:.1f} MiB of weights, {:.1f} of states, {:.1f} of scratch", mebibytes(used[0]),
                     mebibytes(used[1]), mebibytes(used[2]));
}

std::string text(wgpu::StringView view) { return std::string(std::string_view(view)); }

/// T0 is the default limits by definition; T1 asks for what the adapter has, so that few large buffers suffice.
wgpu::Limits required_limits(const wgpu::Adapter& adapter, Tier tier) {
  wgpu::Limits wanted;
  if (tier == Tier::t0) return wanted;
  wgpu::Limits offered;
  adapter.GetLimits(&offered);
  wanted.maxBufferSize = offered.maxBufferSize;
  wanted.maxStorageBufferBindingSize = offered.maxStorageBufferBindingSize;
  wanted.maxComputeInvocationsPerWorkgroup = offered.maxComputeInvocationsPerWorkgroup;
  wanted.maxComputeWorkgroupSizeX = offered.maxComputeWorkgroupSizeX;
  wanted.maxComputeWorkgroupStorageSize = offered.maxComputeWorkgroupStorageSize;
  return wanted;
}

/// No checks of our calls, and none of shaders' indices: every index of ours is within bounds, whatever ids and weights
/// are (HACKING.md, "Self-test").
constexpr const char* kUnchecked[] = {"skip_validation", "disable_robustness"};
/// Timestamps to the nanosecond; the default rounds them for the sake of web pages.
constexpr const char* kQuantization[] = {"timestamp_quantization"};

wgpu::DawnTogglesDescriptor toggles_of(const DeviceOptions& options) {
  wgpu::DawnTogglesDescriptor toggles;
  if (!options.validate) {
    toggles.enabledToggles = kUnchecked;
    toggles.enabledToggleCount = std::size(kUnchecked);
  }
  if (options.timestamps) {
    toggles.disabledToggles = kQuantization;
    toggles.disabledToggleCount = std::size(kQuantization);
  }
  return toggles;
}

std::vector<wgpu::FeatureName> required_features(const wgpu::Adapter& adapter, const std::string& adapter_name,
                                                 Tier tier, const DeviceOptions& options) {
  std::vector<wgpu::FeatureName> features;
  if (tier >= Tier::t1) features = {wgpu::FeatureName::ShaderF16, wgpu::FeatureName::Subgroups};
  if (tier >= Tier::t2) features.push_back(wgpu::FeatureName::ChromiumExperimentalSubgroupMatrix);
  if (options.timestamps) {
    if (!adapter.HasFeature(wgpu::FeatureName::TimestampQuery))
      fail(ErrorCode::unsupported, "[device] {} has no clock that can be read (timestamp-query)", adapter_name);
    features.push_back(wgpu::FeatureName::TimestampQuery);
  }
  return features;
}

// Called from any thread; nothing may be thrown through Dawn.
size_t load_blob(std::span<const std::byte> key, std::span<std::byte> value, BlobCache* cache) {
  try {
    return cache->load(key, value);
  } catch (const std::exception&) {
    return 0;
  }
}

void store_blob(std::span<const std::byte> key, std::span<const std::byte> value, BlobCache* cache) {
  try {
    cache->store(key, value);
  } catch (const std::exception&) {
    return;  // it will be compiled again
  }
}

/// Ready once the GPU is done with the buffer.
wgpu::Future map_for_writing(const wgpu::Buffer& buffer) {
  return buffer.MapAsync(wgpu::MapMode::Write, 0, wgpu::kWholeMapSize, wgpu::CallbackMode::WaitAnyOnly,
                         [](wgpu::MapAsyncStatus, wgpu::StringView) {});
}

}  // namespace

Buffer::~Buffer() {
  if (handle_) {
    handle_.Destroy();
    *used_ -= size_;
  }
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(size_, other.size_);
  std::swap(account_, other.account_);
  std::swap(used_, other.used_);
  return *this;
}

Device::Device(const DeviceOptions& options) : Device(choose_adapter(options.selector), options) {}

Device::Device(FoundAdapter found, const DeviceOptions& options) : errors_(std::make_shared<Errors>()) {
  instance_ = found.instance;
  info_ = std::move(found.info);
  best_tier_ = found.tier;
  tier_ = options.tier.value_or(best_tier_);
  if (tier_ > best_tier_) {
    fail(ErrorCode::bad_request, "[device] tier {} was asked for, but {} reaches {}", name(tier_), info_.name,
         name(best_tier_));
  }
  info_.tier = name(tier_);
  info_.fallback = options.fallback;
  info_.validated = options.validate;

  const wgpu::Limits required = required_limits(found.adapter, tier_);
  const std::vector<wgpu::FeatureName> features = required_features(found.adapter, info_.name, tier_, options);
  if (tier_ >= Tier::t2) {
    matrix_shape_ = options.f16_sums ? found.f16_sums_shape : found.matrix_shape;
    if (matrix_shape_.m == 0)
      fail(ErrorCode::bad_request, "[device] {} has no subgroup matrices that sum in f16", info_.name);
  }
  wgpu::DeviceDescriptor descriptor;
  descriptor.requiredFeatures = features.data();
  descriptor.requiredFeatureCount = features.size();
  descriptor.requiredLimits = &required;
  descriptor.SetDeviceLostCallback(
      wgpu::CallbackMode::AllowSpontaneous,
      [errors = errors_](const wgpu::Device&, wgpu::DeviceLostReason reason, wgpu::StringView message) {
        if (reason == wgpu::DeviceLostReason::Destroyed) return;
        const std::lock_guard lock(errors->mutex);
        errors->lost = fmt::format("[device] the GPU was lost: {}; {}", text(message), kLostText);
      });
  // A plain function, as the header wants; the errors travel as its user data and outlive the device (shared above).
  descriptor.SetUncapturedErrorCallback(
      [](const wgpu::Device&, wgpu::ErrorType, wgpu::StringView message, Errors* errors) {
        const std::lock_guard lock(errors->mutex);
        if (errors->internal.empty()) errors->internal = text(message);
      },
      errors_.get());

  const wgpu::DawnTogglesDescriptor toggles = toggles_of(options);
  descriptor.nextInChain = &toggles;
  wgpu::DawnCacheDeviceDescriptor cache_descriptor;
  const std::string isolation_key = library_id();  // entries of another library are not for this one
  if (!options.cache_folder.empty()) {
    cache_ = std::make_unique<BlobCache>(options.cache_folder);
    cache_descriptor.isolationKey = std::string_view(isolation_key);
    cache_descriptor.SetDawnLoadCacheDataCallback(load_blob, cache_.get());
    cache_descriptor.SetDawnStoreCacheDataCallback(store_blob, cache_.get());
    cache_descriptor.nextInChain = descriptor.nextInChain;
    descriptor.nextInChain = &cache_descriptor;
  }

  std::string failure;
  const auto store = [&](wgpu::RequestDeviceStatus, wgpu::Device device, wgpu::StringView message) {
    device_ = std::move(device);
    failure = text(message);
  };
  instance_.WaitAny(found.adapter.RequestDevice(&descriptor, wgpu::CallbackMode::WaitAnyOnly, store), UINT64_MAX);
  if (!device_) fail(ErrorCode::no_device, "[device] {} could not be opened: {}", info_.name, failure);
  queue_ = device_.GetQueue();

  wgpu::Limits limits;
  device_.GetLimits(&limits);
  info_.limits = limits_of(limits);
}

Device::~Device() {
  kept_read_ = {};
  kept_stage_ = {};
  if (device_) device_.Destroy();
  // Destruction delivers the callbacks that are still due; they use errors_.
  instance_.ProcessEvents();
}

Buffer Device::create_buffer(uint64_t size, wgpu::BufferUsage usage, Account account, const std::string& label) {
  size = round_up(std::max<uint64_t>(size, 4), 4);
  if (size > info_.limits.buffer_bytes_max) {
    fail(ErrorCode::out_of_memory, "[device] {} needs a buffer of {} bytes, {} allows {}; {}", label, size, info_.name,
         info_.limits.buffer_bytes_max, kSmallerText);
  }
  wgpu::BufferDescriptor descriptor;
  descriptor.size = size;
  descriptor.usage = usage;
  descriptor.label = std::string_view(label);
  device_.PushErrorScope(wgpu::ErrorFilter::OutOfMemory);
  Buffer buffer;
  buffer.handle_ = device_.CreateBuffer(&descriptor);
  bool out_of_memory = false;
  const auto store = [&](wgpu::PopErrorScopeStatus, wgpu::ErrorType type, wgpu::StringView) {
    out_of_memory = type == wgpu::ErrorType::OutOfMemory;
  };
  wait(device_.PopErrorScope(wgpu::CallbackMode::WaitAnyOnly, store));
  const uint64_t used = std::accumulate(used_.begin(), used_.end(), uint64_t(0));
  const bool stays = account != Account::staging;
  if (stays && used - used_[size_t(Account::staging)] + size > faults_.memory_bytes) out_of_memory = true;
  if (n_buffers_++ == buffer_to_fail_) out_of_memory = true;
  if (out_of_memory || !buffer.handle_) {
    buffer.handle_ = nullptr;
    fail(ErrorCode::out_of_memory, "[device] {} has no room for {}: it needs {:.1f} MiB, after {}; {}", info_.name,
         label, mebibytes(size), memory_text(used_), kSmallerText);
  }
  buffer.size_ = size;
  buffer.account_ = account;
  buffer.used_ = &used_[size_t(account)];
  *buffer.used_ += size;
  peak_ = std::max(peak_, used + size);
  return buffer;
}

Buffer Device::create_storage(uint64_t size, Account account, const std::string& label) {
  return create_buffer(size, wgpu::BufferUsage::Storage | wgpu::BufferUsage::CopyDst | wgpu::BufferUsage::CopySrc,
                       account, label);
}

void Device::write(const Buffer& buffer, uint64_t offset, std::span<const std::byte> bytes) {
  RAVENWING_CHECK(offset + bytes.size() <= buffer.size());
  queue_.WriteBuffer(buffer.handle(), offset, bytes.data(), bytes.size());
}

void Device::submit(std::span<const wgpu::CommandBuffer> commands) { queue_.Submit(commands.size(), commands.data()); }

std::vector<std::byte> Device::read(const BufferView& view) {
  std::vector<std::byte> bytes;
  read(view, [&](std::span<const std::byte> mapped) { bytes.assign(mapped.begin(), mapped.end()); });
  return bytes;
}

void Device::read(const BufferView& view, const std::function<void(std::span<const std::byte>)>& visit) {
  const uint64_t size = round_up(view.size, 4);
  const wgpu::BufferUsage usage = wgpu::BufferUsage::MapRead | wgpu::BufferUsage::CopyDst;
  // Logits and states are read again and again: what holds them stays, but for the largest.
  Buffer large;
  if (size > kKeptBytes)
    large = create_buffer(size, usage, Account::staging, "read");
  else if (!kept_read_ || kept_read_.size() < size)
    kept_read_ = create_buffer(std::max<uint64_t>(kSmallReadBytes, size), usage, Account::staging, "read");
  const wgpu::Buffer& staging = large ? large.handle() : kept_read_.handle();
  const wgpu::CommandEncoder encoder = device_.CreateCommandEncoder();
  encoder.CopyBufferToBuffer(view.buffer, view.offset, staging, 0, size);
  submit(encoder.Finish());
  wgpu::MapAsyncStatus status = wgpu::MapAsyncStatus::Error;
  wait(staging.MapAsync(wgpu::MapMode::Read, 0, size, wgpu::CallbackMode::WaitAnyOnly,
                        [&](wgpu::MapAsyncStatus result, wgpu::StringView) { status = result; }));
  check();
  if (status != wgpu::MapAsyncStatus::Success)
    fail(ErrorCode::device_lost, "[device] {} did not give back results", info_.name);
  const auto unmap = std::unique_ptr<const wgpu::Buffer, void (*)(const wgpu::Buffer*)>(
      &staging, [](const wgpu::Buffer* buffer) { buffer->Unmap(); });
  visit({static_cast<const std::byte*>(staging.GetConstMappedRange(0, size)), view.size});
}

Device::Stage Device::make_stage(uint64_t size) {
  Stage stage{create_buffer(size, wgpu::BufferUsage::MapWrite | wgpu::BufferUsage::CopySrc, Account::staging, "stage")};
  stage.mapping = map_for_writing(stage.buffer.handle());
  return stage;
}

void Device::stage(uint64_t size, const std::function<void(std::span<std::byte>)>& fill,
                   const std::function<void(const wgpu::CommandEncoder&, const wgpu::Buffer&)>& copy) {
  // Making a buffer and touching its pages for the first time takes longer than filling it: it stays, unless it is
  // large.
  Stage large;
  if (size > kKeptBytes)
    large = make_stage(size);
  else if (!kept_stage_.buffer || kept_stage_.buffer.size() < size)
    kept_stage_ = make_stage(size);
  Stage& stage = large.buffer ? large : kept_stage_;
  const wgpu::Buffer& buffer = stage.buffer.handle();
  wait(stage.mapping);
  check();
  auto* const bytes = static_cast<std::byte*>(buffer.GetMappedRange());
  if (bytes == nullptr) {
    stage = {};
    fail(ErrorCode::out_of_memory, "[device] no staging memory could be mapped");
  }
  fill({bytes, size});
  buffer.Unmap();
  const wgpu::CommandEncoder encoder = device_.CreateCommandEncoder();
  copy(encoder, buffer);
  submit(encoder.Finish());
  if (!large.buffer) stage.mapping = map_for_writing(buffer);
}

void Device::wait(wgpu::Future future) { instance_.WaitAny(future, UINT64_MAX); }

wgpu::Future Device::mark() {
  // One that nobody waits for ends with a later check().
  return queue_.OnSubmittedWorkDone(wgpu::CallbackMode::AllowProcessEvents,
                                    [](wgpu::QueueWorkDoneStatus, wgpu::StringView) {});
}

void Device::wait_idle() {
  wait(queue_.OnSubmittedWorkDone(wgpu::CallbackMode::WaitAnyOnly, [](wgpu::QueueWorkDoneStatus, wgpu::StringView) {}));
  check();
}

bool Device::is_lost() {
  instance_.ProcessEvents();
  const std::lock_guard lock(errors_->mutex);
  return !errors_->lost.empty();
}

void Device::check() {
  instance_.ProcessEvents();
  const std::lock_guard lock(errors_->mutex);
  if (!errors_->lost.empty()) throw Error(ErrorCode::device_lost, errors_->lost);
  if (!errors_->internal.empty()) throw std::logic_error("[device] " + std::exchange(errors_->internal, {}));
}

}  // namespace ravenwing::gpu
