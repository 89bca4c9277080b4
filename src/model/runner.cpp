// src/model/runner.cpp: opening a device and a model, and handing calls through.
#include "model/runner.hpp"

#include <algorithm>
#include <array>
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

namespace {

/// Which steps are known to have ended.
class StepLog {
 public:
  void sent(uint32_t n_tokens) {
    ++n_sent_;
    if (n_tokens <= 1) return;
    longest_ = newest_long_ <= n_done_ ? n_tokens : std::max(longest_, n_tokens);
    newest_long_ = n_sent_;
  }
  void launched() { launched_[n_launched_++ % launched_.size()] = n_sent_; }
  /// The oldest launched step's results are there.
  void taken() { n_done_ = std::max(n_done_, launched_[n_taken_++ % launched_.size()]); }
  void forgotten() { n_taken_ = n_launched_; }
  void all_done() { n_done_ = n_sent_; }
  uint32_t tokens_at_risk() const { return newest_long_ > n_done_ ? longest_ : n_sent_ > n_done_ ? 1 : 0; }

 private:
  uint64_t n_sent_ = 0, n_done_ = 0, newest_long_ = 0;
  uint32_t longest_ = 0;  // of those that were not done when the newest long one was sent
  std::array<uint64_t, kernels::kStepsInFlight> launched_{};
  size_t n_launched_ = 0, n_taken_ = 0;
};

}  // namespace

struct Runner::Impl {
  Impl(format::ModelFile& model_file, const rwkv7::ModelSource& model_source, const EngineOptions& engine_options)
      : file(model_file), source(model_source), options(engine_options) {}

  void open(TierLadder& ladder) {
    const auto begin = std::chrono::steady_clock::now();
    device = ladder.open();
    device_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  void load();
  rwkv7::Model& live() const {
    if (!model) fail(ErrorCode::device_lost, "[device] {} was lost and could not be opened again", device->info().name);
    return *model;
  }
  void sent(const kernels::StepInput& input) {
    log.sent(input.n_tokens());
    if (device->faults().is_too_long(input.n_tokens())) device->lose();
  }
  /// A result that was waited for, and with it all steps.
  template <typename Result>
  Result read(Result result) {
    log.all_done();
    return result;
  }

  format::ModelFile& file;
  const rwkv7::ModelSource& source;
  EngineOptions options;
  double device_ms = 0;
  std::unique_ptr<gpu::Device> device;
  std::unique_ptr<rwkv7::Model> model;
  StepLog log;
};

void retest_tier(const rwkv7::ModelSource& source, const EngineOptions& options) {
  TierLadder(source, options).retest();
}

void Runner::Impl::load() {
  // Reads while the driver opens the device, which takes it longer.
  auto formats = std::async(std::launch::async, [&] { return rwkv7::low_rank_formats(source); });
  TierLadder ladder(source, options);
  open(ladder);
  const bool full = options.load == LoadMode::full;
  // About as many bytes are still to go to the GPU.
  const auto on_read = [&, progress = progress_of(options, 0)](uint64_t done) {
    progress(done, 2 * file.file_bytes());
  };
  rwkv7::ModelOptions model_option = model_options(options);
  model_option.placement.low_rank_formats = formats.get();
  if (full) file.keep(on_read);
  model_option.token = ladder.token_use(device->info());
  while (!model) {
    try {
      model = std::make_unique<rwkv7::Model>(*device, file, source, model_option,
                                             progress_of(options, full ? file.file_bytes() : 0));
    } catch (const gpu::CompileError& error) {
      // Without the kernel for one token first: the other kernels may do.
      if (std::exchange(model_option.token, kernels::TokenUse::none) != kernels::TokenUse::none) continue;
      ladder.step_down(error);
      open(ladder);
      model_option.token = ladder.token_use(device->info());
    }
  }
  file.forget();
}

Runner::Runner(format::ModelFile& file, const rwkv7::ModelSource& source, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(file, source, options)) {
  impl_->load();
}
Runner::~Runner() = default;

bool Runner::is_lost() const { return impl_->device->is_lost(); }
uint32_t Runner::tokens_at_risk() const { return impl_->log.tokens_at_risk(); }

void Runner::reopen() {
  impl_->model.reset();
  impl_->log = {};
  impl_->load();
}

void Runner::wait() {
  impl_->device->wait_idle();
  impl_->log.all_done();
}

const rwkv7::Config& Runner::config() const { return impl_->live().config(); }
const DeviceInfo& Runner::device() const { return impl_->device->info(); }
double Runner::device_ms() const { return impl_->device_ms; }
PipelineCacheUse Runner::pipeline_cache() const {
  const gpu::BlobCache::Counts counts = impl_->device->cache_counts();
  return {counts.hits, counts.misses, counts.damaged};
}
StepCacheUse Runner::step_caches() const {
  StepCacheUse use = impl_->live().cache_use();
  use.buffers_made = impl_->device->n_buffers();
  return use;
}
uint32_t Runner::tokens_max() const { return impl_->live().tokens_max(); }
uint32_t Runner::outputs_max() const { return impl_->live().outputs_max(); }

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
  impl_->live().submit(input);  // compiles, loads
  impl_->device->wait_idle();
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < kSteps; ++i) {
    const Clock::time_point submit_begin = Clock::now();
    impl_->live().submit(input);
    profile.encode_us += us_since(submit_begin) / kSteps;
  }
  impl_->device->wait_idle();
  profile.step_us = us_since(begin) / kSteps;
  profile.gpu_us = impl_->live().time_step(input);
  impl_->live().profile(input, profile);
  return profile;
}

MeasuredLimits Runner::measure_limits() {
  gpu::PipelineCache pipelines(*impl_->device, kernels::shader_library());
  return kernels::measure_limits(pipelines);
}

void Runner::submit(const kernels::StepInput& input) {
  impl_->live().submit(input);
  impl_->sent(input);
}
void Runner::launch(const kernels::StepInput& input) {
  impl_->live().launch(input);
  impl_->sent(input);
  impl_->log.launched();
}
void Runner::forget_sampled() {
  if (!impl_->model) return;
  impl_->model->forget_sampled();
  impl_->log.forgotten();
}
void Runner::take_sampled(std::vector<kernels::Sampled>& sampled) {
  impl_->live().take_sampled(sampled);
  impl_->log.taken();
}
std::vector<float> Runner::read_logits() { return impl_->read(impl_->live().read_logits()); }
std::vector<float> Runner::read_logits_of(uint32_t output) { return impl_->read(impl_->live().read_logits_of(output)); }

void Runner::reset_slot(uint32_t slot) { impl_->live().states().reset(slot); }
void Runner::begin_request(uint32_t slot, const kernels::ControlBlock& block) {
  impl_->live().states().begin_request(slot, block);
}
void Runner::write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions) {
  impl_->live().states().write_additions(slot, additions);
}

SessionState Runner::read_state(uint32_t slot) {
  rwkv7::HostState state = impl_->read(impl_->live().states().read(slot));
  return {std::move(state.time_shift), std::move(state.wkv), std::move(state.channel_shift)};
}

void Runner::write_state(uint32_t slot, const SessionState& state) {
  impl_->live().states().write(slot, {state.time_shift, state.wkv, state.channel_shift});
}

std::vector<float> Runner::read_counts(uint32_t slot) { return impl_->read(impl_->live().states().read_counts(slot)); }
void Runner::write_counts(uint32_t slot, std::span<const float> counts) {
  impl_->live().states().write_counts(slot, counts);
}

void Runner::copy_slot(uint32_t from, uint32_t to) { impl_->live().states().copy(from, to); }
float Runner::read_mirostat_mu(uint32_t slot) { return impl_->live().states().read_control(slot).mirostat_mu; }
void Runner::write_mirostat_mu(uint32_t slot, float mu) { impl_->live().states().write_mirostat_mu(slot, mu); }
void Runner::checkpoint(uint32_t slot, uint32_t place) { impl_->live().states().checkpoint(slot, place); }
void Runner::roll_back(uint32_t slot, uint32_t place) { impl_->live().states().roll_back(slot, place); }

}  // namespace ravenwing
