// src/model/runner.cpp: opening a device and a model, and handing calls through.
#include "model/runner.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <future>
#include <utility>

#include "base/text.hpp"
#include "kernels/limits.hpp"
#include "kernels/shaders.hpp"
#include "model/background_tuner.hpp"
#include "model/rwkv7_forward.hpp"
#include "model/tier_ladder.hpp"

namespace ravenwing {
namespace {

State to_state(const rwkv7::Config& config, rwkv7::HostState state) {
  return {.n_layer = config.n_layer,
          .n_head = config.n_head,
          .head_size = config.head_size,
          .time_shift = std::move(state.time_shift),
          .wkv = std::move(state.wkv),
          .channel_shift = std::move(state.channel_shift)};
}

/// Tokens that the GPU's working memory is made for. Shaders have it as a constant: few values, so that their caches
/// serve every chunk size.
uint32_t tokens_max_of(uint32_t chunk) { return std::max(EngineOptions::kChunkDefault, std::bit_ceil(chunk)); }

rwkv7::ModelOptions model_options(const EngineOptions& options) {
  rwkv7::ModelOptions result;
  result.n_slots = options.max_sessions;
  result.states = options.state_storage;
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

/// Of a device that is open, unless the caller does without.
std::optional<TuningFile> tuning_of(const gpu::Device& device, const EngineOptions& options) {
  if (!uses_tuning(options)) return std::nullopt;
  return tuning_file_of(device);
}

/// Jobs for idle times: none where there is nowhere to keep what they give.
std::unique_ptr<BackgroundTuner> make_tuner(const gpu::Device& device, const rwkv7::ModelSource& source,
                                            std::span<const format::WeightFormat> low_rank_formats,
                                            const EngineOptions& options, const TuningFile& known) {
  if (known.path().empty() || options.tuning != TuningMode::automatic || !tunes_in_background(device.info()))
    return nullptr;
  std::vector<TuningJob> jobs = tuning_jobs(source, low_rank_formats, {});
  std::erase_if(jobs, [&](const TuningJob& job) { return known.find(job.subject) != nullptr; });
  BackgroundTuner::Options tuner{.selector = options.device, .device = {}, .quiet = quiet_before_tuning()};
  tuner.device.tier = device.tier();
  tuner.device.cache_folder = pipeline_folder(options.pipeline_cache);
  tuner.device.validate = device.info().validated;
  return std::make_unique<BackgroundTuner>(std::move(tuner), std::move(jobs));
}

struct Runner::Impl {
  Impl(format::ModelFile& model_file, const rwkv7::ModelSource& model_source, const EngineOptions& engine_options)
      : file(model_file), source(model_source), options(engine_options) {}

  /// What was tuned for the device that is open, and the chunk that follows.
  void tune(rwkv7::ModelOptions& model_options) {
    tuning_file = tuning_of(*device, options);
    use = {};
    tuned_chunk.reset();
    model_options.tuning = {};
    if (tuning_file) {
      TunedChoices choices = choices_of(*tuning_file, *device);
      use.file = tuning_file->path();
      use.n_choices = choices.kernels.matmuls.size() + choices.kernels.time_mixes.size();
      use.warning = tuning_file->warning();
      if (choices.n_refused > 0) {
        use.warning = fmt::format("{} has {} choices that this device does not have, which were ignored",
                                  quoted(tuning_file->path().native(), 400), choices.n_refused);
      }
      model_options.tuning = std::move(choices.kernels);
      if (!options.chunk) tuned_chunk = ravenwing::tuned_chunk(*tuning_file, source.config);
    }
    set_chunk(options.chunk ? *options.chunk : tuned_chunk.value_or(EngineOptions::kChunkDefault), model_options);
  }
  void set_chunk(uint32_t wanted, rwkv7::ModelOptions& model_options) {
    chunk = wanted;
    model_options.tokens_max = tokens_max_of(chunk);
  }
  /// Whether a smaller chunk than the tuned one is worth a try.
  bool give_up_chunk(rwkv7::ModelOptions& model_options) {
    if (!tuned_chunk || *tuned_chunk <= EngineOptions::kChunkDefault) return false;
    tuned_chunk.reset();
    set_chunk(EngineOptions::kChunkDefault, model_options);
    return true;
  }

  void open(TierLadder& ladder) {
    const auto begin = std::chrono::steady_clock::now();
    device = ladder.open();
    device_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  }
  void load();
  rwkv7::Model& live() const {
    if (in_hook) {
      fail(ErrorCode::bad_request,
           "[hook] a hook may not use the engine that calls it, nor its sessions: note what is needed, and use them "
           "after the call that the hook came from");
    }
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

  void set_hook(std::optional<Hook> wanted) {
    live();
    if (wanted) {
      wanted->call = [this, call = std::move(wanted->call)](const HookCall& at) {
        in_hook = true;
        const auto left = std::unique_ptr<bool, void (*)(bool*)>(&in_hook, [](bool* flag) { *flag = false; });
        call(at);
      };
    }
    hook = std::move(wanted);
    model->set_hook(hook);
  }

  format::ModelFile& file;
  const rwkv7::ModelSource& source;
  EngineOptions options;
  std::optional<Hook> hook;
  bool in_hook = false;  // it is being called
  double device_ms = 0;
  std::unique_ptr<gpu::Device> device;
  std::unique_ptr<rwkv7::Model> model;
  StepLog log;
  std::array<wgpu::Future, kernels::kStepsInFlight> marks{};  // of pace(), on this device
  size_t n_marks = 0;
  uint32_t chunk = 0;
  std::optional<uint32_t> tuned_chunk;
  std::optional<TuningFile> tuning_file;
  TuningUse use;
  std::unique_ptr<BackgroundTuner> tuner;  // last: its thread ends first
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
  tune(model_option);
  if (const uint32_t n_workgroups = device->faults().token_workgroups; n_workgroups > 0) {
    model_option.token = kernels::TokenUse::whole;
    model_option.token_workgroups = n_workgroups;
  }
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
      tune(model_option);
    } catch (const Error& error) {
      const bool no_room = error.code() == ErrorCode::unsupported || error.code() == ErrorCode::out_of_memory;
      if (!no_room || !give_up_chunk(model_option)) throw;
    }
  }
  if (hook) model->set_hook(hook);
  file.forget();
  if (tuning_file) tuner = make_tuner(*device, source, model_option.placement.low_rank_formats, options, *tuning_file);
}

Runner::Runner(format::ModelFile& file, const rwkv7::ModelSource& source, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(file, source, options)) {
  impl_->load();
}
Runner::~Runner() = default;

bool Runner::is_lost() const { return impl_->device->is_lost(); }
bool Runner::has_stalled() const { return impl_->model && impl_->model->has_stalled(); }
void Runner::forget_stall() { impl_->live().forget_stall(); }
uint32_t Runner::tokens_at_risk() const { return impl_->log.tokens_at_risk(); }

void Runner::reopen() {
  impl_->tuner.reset();
  impl_->model.reset();
  impl_->log = {};
  impl_->n_marks = 0;
  impl_->load();
}

void Runner::set_hook(std::optional<Hook> hook) { impl_->set_hook(std::move(hook)); }
bool Runner::has_hook() const { return impl_->hook.has_value(); }
bool Runner::take_undone() { return impl_->model && impl_->model->take_undone(); }
void Runner::give_up() { impl_->model.reset(); }

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

SubmitReading Runner::time_submits(const kernels::StepInput& input, const SubmitShape& shape, uint32_t n_steps) {
  impl_->device->wait_idle();
  const rwkv7::Replay replay = impl_->read(impl_->live().replay(input, shape, n_steps));
  SubmitReading reading{.us = replay.us / n_steps, .ids = {}};
  for (const kernels::Sampled& sampled : replay.sampled) {
    if (sampled.frozen == kernels::Frozen::numerical)
      fail(ErrorCode::unsupported, "[sample] the logits of a step that was timed are not numbers");
    reading.ids.push_back(sampled.id);
  }
  return reading;
}

MeasuredLimits Runner::measure_limits() {
  impl_->live();
  gpu::PipelineCache pipelines(*impl_->device, kernels::shader_library());
  return kernels::measure_limits(pipelines);
}

TuningUse Runner::tuning() const {
  TuningUse use = impl_->use;
  if (!impl_->tuner) return use;
  use.n_measured = impl_->tuner->n_measured();
  use.measuring = impl_->tuner->measuring();
  return use;
}
std::filesystem::path Runner::keep_chunk(uint32_t chunk, double us, double default_us) {
  if (!impl_->tuning_file) return {};
  const bool is_default = chunk == EngineOptions::kChunkDefault;
  impl_->tuning_file->set(chunk_subject(impl_->source.config),
                          {is_default ? std::string(TuningEntry::kDefault) : std::to_string(chunk), default_us,
                           is_default ? default_us : us});
  return impl_->tuning_file->path();
}
uint32_t Runner::chunk() const { return impl_->chunk; }
void Runner::end_of_answer() {
  if (impl_->tuner) impl_->tuner->end_of_answer();
}
Runner::InUse::InUse(Runner& runner) {
  if (runner.impl_->tuner) busy.emplace(runner.impl_->tuner->gate());
}

void Runner::submit(const kernels::StepInput& input) {
  impl_->live().submit(input);
  impl_->sent(input);
}
void Runner::pace() {
  wgpu::Future& mark = impl_->marks[impl_->n_marks % impl_->marks.size()];
  if (impl_->n_marks >= impl_->marks.size()) impl_->device->wait(mark);
  impl_->device->check();
  mark = impl_->device->mark();
  ++impl_->n_marks;
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
void Runner::launch_pooled(const kernels::StepInput& input, const rwkv7::Readout& readout) {
  impl_->live().launch_pooled(input, readout);
  impl_->sent(input);
  impl_->log.launched();
}
void Runner::take_pooled(std::span<float> rows) {
  impl_->live().take_pooled(rows);
  impl_->log.taken();
}
void Runner::forget_pooled() {
  if (!impl_->model) return;
  impl_->model->forget_pooled();
  impl_->log.forgotten();
}
std::vector<float> Runner::read_wkv(uint32_t layer, uint32_t slot) {
  return impl_->read(impl_->live().states().read_wkv(layer, slot));
}
std::vector<float> Runner::read_logits() { return impl_->read(impl_->live().read_logits()); }
std::vector<float> Runner::read_logits_of(uint32_t output) { return impl_->read(impl_->live().read_logits_of(output)); }

void Runner::reset_slot(uint32_t slot) { impl_->live().reset_slot(slot); }
void Runner::begin_request(uint32_t slot, const kernels::ControlBlock& block) {
  impl_->live().states().begin_request(slot, block);
}
void Runner::write_additions(uint32_t slot, std::span<const kernels::LogitAddition> additions) {
  impl_->live().states().write_additions(slot, additions);
}

State Runner::read_state(uint32_t slot) { return to_state(config(), impl_->read(impl_->live().states().read(slot))); }

SessionSnapshot Runner::read_slot(uint32_t slot, SessionSnapshot used) {
  SessionSnapshot snapshot;
  rwkv7::SamplingMemory memory;
  rwkv7::HostState state = impl_->read(impl_->live().states().read(
      slot, &memory,
      {std::move(used.state.time_shift), std::move(used.state.wkv), std::move(used.state.channel_shift)}));
  snapshot.state = to_state(config(), std::move(state));
  snapshot.counts = std::move(memory.counts);
  snapshot.mirostat_mu = memory.mirostat_mu;
  return snapshot;
}

void Runner::write_slot(uint32_t slot, const SessionSnapshot& snapshot) {
  const State& state = snapshot.state;
  impl_->live().states().write(slot, {state.time_shift, state.wkv, state.channel_shift}, snapshot.counts,
                               snapshot.mirostat_mu);
}

std::vector<float> Runner::read_counts(uint32_t slot) { return impl_->read(impl_->live().states().read_counts(slot)); }
void Runner::write_counts(uint32_t slot, std::span<const float> counts) {
  impl_->live().states().write_counts(slot, counts);
}

void Runner::copy_slot(uint32_t from, uint32_t to) { impl_->live().states().copy(from, to); }
void Runner::write_mirostat_mu(uint32_t slot, float mu) { impl_->live().states().write_mirostat_mu(slot, mu); }
void Runner::checkpoint(uint32_t slot, uint32_t place) { impl_->live().states().checkpoint(slot, place); }
void Runner::roll_back(uint32_t slot, uint32_t place) { impl_->live().states().roll_back(slot, place); }

}  // namespace ravenwing
