// src/model/runner.cpp: opening a device and a model, and handing calls through.
#include "model/runner.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <future>
#include <utility>

#include "kernels/limits.hpp"
#include "kernels/shaders.hpp"
#include "model/rwkv7_forward.hpp"
#include "model/tier_ladder.hpp"

namespace ravenwing {
namespace {

/// Tokens that the GPU's working memory is made for. Shaders have it as a constant: few values, so that their caches
/// serve every chunk size.
uint32_t tokens_max_of(const EngineOptions& options) {
  return std::max(EngineOptions{}.chunk, std::bit_ceil(options.chunk));
}

rwkv7::ModelOptions model_options(const EngineOptions& options) {
  rwkv7::ModelOptions result;
  result.n_slots = options.max_sessions;
  result.states = options.state_storage;
  result.tokens_max = tokens_max_of(options);
  result.mode = mode_of(options);
  result.lazy = options.load == LoadMode::lazy;
  result.compile_ahead = true;
  return result;
}

/// Progress of what comes after `done_before` bytes; throws once the caller has cancelled.
rwkv7::Progress progress_of(const EngineOptions& options, uint64_t done_before) {
  return [cancel = options.cancel, report = options.on_progress, done_before](uint64_t done, uint64_t total) {
    if (cancel != nullptr && *cancel) fail(ErrorCode::cancelled, "loading was cancelled");
    if (report) report(done_before + done, done_before + total);
  };
}

}  // namespace

struct Runner::Impl {
  void open(TierLadder& ladder) {
    const auto begin = std::chrono::steady_clock::now();
    device = ladder.open();
    device_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }

  double device_ms = 0;
  std::unique_ptr<gpu::Device> device;
  std::unique_ptr<rwkv7::Model> model;
};

void retest_tier(const rwkv7::ModelSource& source, const EngineOptions& options) {
  TierLadder(source, options).retest();
}

Runner::Runner(format::ModelFile& file, const rwkv7::ModelSource& source, const EngineOptions& options)
    : impl_(std::make_unique<Impl>()) {
  // Reads while the driver opens the device, which takes it longer.
  auto formats = std::async(std::launch::async, [&] { return rwkv7::low_rank_formats(source); });
  TierLadder ladder(source, options);
  impl_->open(ladder);
  const bool full = options.load == LoadMode::full;
  // About as many bytes are still to go to the GPU.
  const auto on_read = [&, progress = progress_of(options, 0)](uint64_t done) {
    progress(done, 2 * file.file_bytes());
  };
  rwkv7::ModelOptions model = model_options(options);
  model.placement.low_rank_formats = formats.get();
  if (full) file.keep(on_read);
  model.token = ladder.token_use(impl_->device->info());
  while (!impl_->model) {
    try {
      impl_->model = std::make_unique<rwkv7::Model>(*impl_->device, file, source, model,
                                                    progress_of(options, full ? file.file_bytes() : 0));
    } catch (const gpu::CompileError& error) {
      // Without the kernel for one token first: the other kernels may do.
      if (std::exchange(model.token, kernels::TokenUse::none) != kernels::TokenUse::none) continue;
      ladder.step_down(error);
      impl_->open(ladder);
      model.token = ladder.token_use(impl_->device->info());
    }
  }
  file.forget();
}
Runner::~Runner() = default;

const rwkv7::Config& Runner::config() const { return impl_->model->config(); }
const DeviceInfo& Runner::device() const { return impl_->device->info(); }
double Runner::device_ms() const { return impl_->device_ms; }
PipelineCacheUse Runner::pipeline_cache() const {
  const gpu::BlobCache::Counts counts = impl_->device->cache_counts();
  return {counts.hits, counts.misses, counts.damaged};
}
StepCacheUse Runner::step_caches() const {
  StepCacheUse use = impl_->model->cache_use();
  use.buffers_made = impl_->device->n_buffers();
  return use;
}
uint32_t Runner::tokens_max() const { return impl_->model->tokens_max(); }
uint32_t Runner::outputs_max() const { return impl_->model->outputs_max(); }

MemoryUse Runner::memory() const {
  return {impl_->device->bytes_used(gpu::Account::weights), impl_->device->bytes_used(gpu::Account::state),
          impl_->device->bytes_used(gpu::Account::scratch), impl_->device->bytes_peak()};
}

StepProfile Runner::profile(const kernels::StepInput& input) {
  using Clock = std::chrono::steady_clock;
  const auto us_since = [](Clock::time_point begin) {
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  };
  constexpr int kSteps = 10;
  StepProfile profile;
  impl_->model->submit(input);  // compiles, loads
  impl_->device->wait_idle();
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < kSteps; ++i) {
    const Clock::time_point submit_begin = Clock::now();
    impl_->model->submit(input);
    profile.encode_us += us_since(submit_begin) / kSteps;
  }
  impl_->device->wait_idle();
  profile.step_us = us_since(begin) / kSteps;
  profile.gpu_us = impl_->model->time_step(input);
  impl_->model->profile(input, profile);
  return profile;
}

MeasuredLimits Runner::measure_limits() {
  gpu::PipelineCache pipelines(*impl_->device, kernels::shader_library());
  return kernels::measure_limits(pipelines);
}

void Runner::submit(const kernels::StepInput& input) { impl_->model->submit(input); }
void Runner::launch(const kernels::StepInput& input) { impl_->model->launch(input); }
void Runner::forget_sampled() { impl_->model->forget_sampled(); }
void Runner::take_sampled(std::vector<kernels::Sampled>& sampled) { impl_->model->take_sampled(sampled); }
std::vector<float> Runner::read_logits() { return impl_->model->read_logits(); }
std::vector<float> Runner::read_logits_of(uint32_t output) { return impl_->model->read_logits_of(output); }

void Runner::reset_slot(uint32_t slot) { impl_->model->states().reset(slot); }
void Runner::begin_request(uint32_t slot, const kernels::ControlBlock& block) {
  impl_->model->states().begin_request(slot, block);
}
void Runner::write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions) {
  impl_->model->states().write_additions(slot, additions);
}

SessionState Runner::read_state(uint32_t slot) {
  rwkv7::HostState state = impl_->model->states().read(slot);
  return {std::move(state.time_shift), std::move(state.wkv), std::move(state.channel_shift)};
}

void Runner::write_state(uint32_t slot, const SessionState& state) {
  impl_->model->states().write(slot, {state.time_shift, state.wkv, state.channel_shift});
}

std::vector<float> Runner::read_counts(uint32_t slot) { return impl_->model->states().read_counts(slot); }
void Runner::write_counts(uint32_t slot, std::span<const float> counts) {
  impl_->model->states().write_counts(slot, counts);
}

void Runner::copy_slot(uint32_t from, uint32_t to) { impl_->model->states().copy(from, to); }
float Runner::read_mirostat_mu(uint32_t slot) { return impl_->model->states().read_control(slot).mirostat_mu; }
void Runner::write_mirostat_mu(uint32_t slot, float mu) { impl_->model->states().write_mirostat_mu(slot, mu); }
void Runner::checkpoint(uint32_t slot, uint32_t place) { impl_->model->states().checkpoint(slot, place); }
void Runner::roll_back(uint32_t slot, uint32_t place) { impl_->model->states().roll_back(slot, place); }

}  // namespace ravenwing
