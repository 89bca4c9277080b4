// src/model/runner.cpp: opening a device and a model, and handing calls through.
#include "model/runner.hpp"

#include <chrono>

#include "model/rwkv7_forward.hpp"

namespace ravenwing {
namespace {

/// Tokens that the GPU's working memory is made for. One value, so that the shaders' caches serve every chunk size.
constexpr uint32_t kTokensMax = 512;

DeviceInfo info_of(const gpu::AdapterSummary& adapter, gpu::Tier tier, const gpu::Limits& limits) {
  return {.name = adapter.name,
          .driver = adapter.driver,
          .vendor = adapter.vendor,
          .backend = adapter.backend,
          .type = adapter.type,
          .software = adapter.software,
          .tier = std::string(gpu::name(tier)),
          .vendor_id = adapter.vendor_id,
          .device_id = adapter.device_id,
          .subgroup_size_min = adapter.subgroup_size_min,
          .subgroup_size_max = adapter.subgroup_size_max,
          .buffer_bytes_max = limits.buffer_bytes_max,
          .binding_bytes_max = limits.binding_bytes_max,
          .binding_alignment = limits.binding_alignment,
          .workgroups_per_dimension_max = limits.workgroups_per_dimension_max,
          .invocations_per_workgroup_max = limits.invocations_per_workgroup_max,
          .workgroup_storage_bytes_max = limits.workgroup_storage_bytes_max,
          .storage_buffers_per_stage_max = limits.storage_buffers_per_stage_max,
          .features = adapter.features};
}

gpu::DeviceOptions device_options(const EngineOptions& options) {
  gpu::DeviceOptions result{.selector = options.device};
  if (options.tier == "T0" || options.tier == "t0") result.tier = gpu::Tier::t0;
  else if (options.tier == "T1" || options.tier == "t1") result.tier = gpu::Tier::t1;
  else if (!options.tier.empty()) fail(ErrorCode::bad_request, "tier '{}' is none of T0, T1", options.tier);
  return result;
}

rwkv7::ModelOptions model_options(const EngineOptions& options) {
  rwkv7::ModelOptions result;
  result.n_slots = options.max_sessions;
  result.tokens_max = kTokensMax;
  result.mode = options.exact ? kernels::MatMulMode::exact : kernels::MatMulMode::fast;
  return result;
}

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> devices;
  for (const gpu::AdapterSummary& adapter : gpu::list_adapters()) devices.push_back(info_of(adapter, adapter.tier, adapter.limits));
  return devices;
}

struct Runner::Impl {
  // The file is checked before a device is opened, so that a bad one is told at once.
  explicit Impl(const EngineOptions& options)
      : file(format::ModelFile::open(options.model)),
        source(rwkv7::read_model_source(file)),
        header_ms(ms_since(begin)),
        device(device_options(options)),
        device_ms(ms_since(begin) - header_ms),
        device_info(info_of(device.adapter(), device.tier(), device.limits())) {
    const auto progress = [&](uint64_t done, uint64_t total) {
      if (options.cancel != nullptr && *options.cancel) fail(ErrorCode::cancelled, "loading was cancelled");
      if (options.on_progress) options.on_progress(done, total);
    };
    model = std::make_unique<rwkv7::Model>(device, file, source, model_options(options), progress);
    load_ms = ms_since(begin) - device_ms;
  }

  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  format::ModelFile file;
  rwkv7::ModelSource source;
  double header_ms;
  gpu::Device device;
  double device_ms;
  DeviceInfo device_info;
  std::unique_ptr<rwkv7::Model> model;
  double load_ms = 0;
};

Runner::Runner(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Runner::~Runner() = default;

const rwkv7::Config& Runner::config() const { return impl_->model->config(); }
const DeviceInfo& Runner::device() const { return impl_->device_info; }
double Runner::load_ms() const { return impl_->load_ms; }
double Runner::device_ms() const { return impl_->device_ms; }
uint32_t Runner::tokens_max() const { return impl_->model->tokens_max(); }
uint32_t Runner::outputs_max() const { return impl_->model->outputs_max(); }

MemoryUse Runner::memory() const {
  return {impl_->device.bytes_used(gpu::Account::weights), impl_->device.bytes_used(gpu::Account::state), impl_->device.bytes_used(gpu::Account::scratch)};
}

void Runner::submit(const kernels::StepInput& input) { impl_->model->submit(input); }
std::vector<float> Runner::read_logits() { return impl_->model->read_logits(); }

std::vector<SampledToken> Runner::read_sampled() {
  std::vector<SampledToken> result;
  for (const rwkv7::Sampled& sampled : impl_->model->read_sampled()) result.push_back({sampled.id, sampled.frozen});
  return result;
}

void Runner::reset_slot(uint32_t slot) { impl_->model->states().reset(slot); }
void Runner::write_control(uint32_t slot, const kernels::ControlBlock& block) { impl_->model->states().write_control(slot, block); }

SessionState Runner::read_state(uint32_t slot) {
  rwkv7::HostState state = impl_->model->states().read(slot);
  return {std::move(state.time_shift), std::move(state.wkv), std::move(state.channel_shift)};
}

}  // namespace ravenwing
