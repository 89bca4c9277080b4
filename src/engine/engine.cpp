// src/engine/engine.cpp: a loaded model, its slots, and the CPU's part of a session.
#include <algorithm>
#include <cmath>
#include <future>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "engine/engine_impl.hpp"
#include "engine/logprobs.hpp"
#include "engine/model_info.hpp"
#include "engine/scheduler.hpp"
#include "engine/session_file.hpp"

namespace ravenwing {
namespace {

/// Before a device is opened.
const EngineOptions& checked(const EngineOptions& options) {
  if (options.max_sessions == 0 || options.max_sessions > EngineOptions::kSessionsMax) {
    fail(ErrorCode::bad_request, "max_sessions is {}, must be 1 to {}", options.max_sessions,
         EngineOptions::kSessionsMax);
  }
  if (options.chunk && (*options.chunk == 0 || *options.chunk > EngineOptions::kChunkMax))
    fail(ErrorCode::bad_request, "chunk is {}, must be 1 to {}", *options.chunk, EngineOptions::kChunkMax);
  if (options.exact && options.state_storage == StateStorage::f16) {
    fail(ErrorCode::bad_request,
         "exact results need states in f32: in f16 they are rounded after every step, so that a text's results depend "
         "on its steps (leave out --exact, or --states f16)");
  }
  return options;
}

}  // namespace

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view name(LoadMode mode) {
  switch (mode) {
    case LoadMode::stream:
      return "stream";
    case LoadMode::full:
      return "full";
    case LoadMode::lazy:
      return "lazy";
  }
  return "unknown";
}

Engine::Impl::Impl(const EngineOptions& options)
    : file(format::ModelFile::open(checked(options).model,
                                   options.mmap ? MappedFile::Access::mapped : MappedFile::Access::read)),
      source(rwkv7::read_model_source(file)),
      info(info_of(file, source)),
      tokenizer(tokenizer_of(file, options.vocab)),
      runner(file, source, checked(options)),
      chunk(runner.chunk()),
      profiling(options.profiling),
      cancel(options.cancel),
      on_recovery(options.on_recovery),
      sessions(options.max_sessions),
      input(runner.tokens_max()),
      load_ms(ms_since_begin()) {}

double Engine::Impl::ms_since_begin() const {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count() -
         runner.device_ms();
}

void Engine::Impl::note_first_token() {
  if (first_token_ms == 0) first_token_ms = ms_since_begin();
}

void Engine::Impl::check_cancelled() const {
  if (cancel != nullptr && *cancel) fail(ErrorCode::cancelled, "cancelled");
}

void Engine::Impl::check_ids(std::span<const uint32_t> ids) const {
  const uint32_t n_vocab = runner.config().n_vocab;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= n_vocab) {
      fail(ErrorCode::bad_request,
           "token {} is id {}, the model's ids are below {} (is the vocabulary the model's own?)", i, ids[i], n_vocab);
    }
  }
}

uint32_t Engine::Impl::free_slot() const {
  const auto free = std::find(sessions.begin(), sessions.end(), nullptr);
  if (free == sessions.end()) {
    fail(ErrorCode::bad_request, "all {} sessions are in use: destroy one, or raise max_sessions", sessions.size());
  }
  return uint32_t(free - sessions.begin());
}

const std::string& Engine::Impl::hash_of_model() {
  if (model_hash.empty()) model_hash = ravenwing::model_hash(file);
  return model_hash;
}

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelInfo& Engine::model() const { return impl_->info; }
const DeviceInfo& Engine::device() const { return impl_->runner.device(); }
const Tokenizer& Engine::tokenizer() const { return impl_->tokenizer; }
MemoryUse Engine::memory() const { return impl_->runner.memory(); }
double Engine::load_ms() const { return impl_->load_ms; }
double Engine::device_ms() const { return impl_->runner.device_ms(); }
double Engine::first_token_ms() const { return impl_->first_token_ms; }
PipelineCacheUse Engine::pipeline_cache() const { return impl_->runner.pipeline_cache(); }
StepCacheUse Engine::step_caches() const { return impl_->runner.step_caches(); }
TuningUse Engine::tuning() const { return impl_->runner.tuning(); }
std::filesystem::path Engine::keep_chunk(uint32_t chunk, double us_a_token, double default_us_a_token) {
  if (chunk == 0 || chunk > EngineOptions::kChunkMax)
    fail(ErrorCode::bad_request, "chunk is {}, must be 1 to {}", chunk, EngineOptions::kChunkMax);
  return impl_->runner.keep_chunk(chunk, us_a_token, default_us_a_token);
}
uint32_t Engine::chunk() const { return impl_->chunk; }

void Engine::Impl::set_hook(std::optional<Hook> hook) {
  if (hook) {
    if (!hook->call) fail(ErrorCode::bad_request, "the hook has nothing to call (clear_hook() ends one)");
    for (const HookPoint point : hook->points) {
      if (size_t(point) >= kHookPointCount)
        fail(ErrorCode::bad_request, "the hook names point {}, there are {}", size_t(point), kHookPointCount);
    }
    for (const uint32_t layer : hook->layers) {
      if (layer >= runner.config().n_layer)
        fail(ErrorCode::bad_request, "the hook names layer {}, must be 0 to {}", layer, runner.config().n_layer - 1);
    }
  }
  // What was fed under another hook, or none, must not be fed again under this one if the GPU is lost.
  for (Session::Impl* session : sessions) {
    if (session != nullptr && !session->past.tokens.empty()) session->close_past();
  }
  runner.set_hook(std::move(hook));
}

void Engine::Impl::check_unhooked(std::string_view what) const {
  if (runner.has_hook())
    fail(ErrorCode::bad_request, "{} measures steps as they are without a hook: clear_hook() first", what);
}

void Engine::set_hook(Hook hook) { impl_->set_hook(std::move(hook)); }
void Engine::clear_hook() { impl_->set_hook({}); }

Session Engine::new_session() {
  const uint32_t slot = impl_->free_slot();
  auto session = std::make_unique<Session::Impl>(*impl_, slot);
  impl_->runner.reset_slot(slot);
  return Session(std::move(session));
}

StepProfile Engine::profile(uint32_t n_sequences, uint32_t n_tokens, const SamplerParams& sampler) {
  impl_->check_unhooked("profile()");
  if (!impl_->profiling) fail(ErrorCode::bad_request, "profile() needs an engine that was opened for profiling");
  if (n_sequences == 0 || n_tokens == 0 || uint64_t(n_sequences) * n_tokens > impl_->chunk ||
      n_sequences > impl_->runner.outputs_max()) {
    fail(ErrorCode::bad_request, "{} texts of {} tokens are no step: it has 1 to {} tokens, and at most {} texts",
         n_sequences, n_tokens, impl_->chunk, impl_->runner.outputs_max());
  }
  sampler.validate();
  const Runner::InUse in_use(impl_->runner);
  std::vector<kernels::LogitAddition> additions;
  for (const auto& [id, value] : sampler.logit_bias) additions.push_back({id, value});
  std::vector<Session> sessions;
  kernels::StepInput input(impl_->runner.tokens_max());
  const std::vector<uint32_t> ids(n_tokens, 1);
  for (uint32_t i = 0; i < n_sequences; ++i) {
    sessions.push_back(new_session());
    const uint32_t slot = sessions.back().impl_->slot;
    kernels::ControlBlock block = kernels::control_block(sampler);
    block.limit = UINT32_MAX;  // a frozen text would leave work out
    impl_->runner.begin_request(slot, block);
    impl_->runner.write_additions(slot, additions);
    input.add_chunk({slot, ids});
    input.add_output({input.n_tokens() - 1, slot, true});
  }
  return impl_->runner.profile(input);
}

SubmitReading Engine::time_submits(const SubmitShape& shape, uint32_t n_tokens) {
  impl_->check_unhooked("time_submits()");
  if (n_tokens == 0 || shape.steps == 0 || shape.steps > SubmitShape::kStepsMax ||
      (shape.steps > 1 && shape.dispatches > 0)) {
    fail(ErrorCode::bad_request,
         "{} tokens, {} steps and {} dispatches to a submit: must be one token or more, 1 to {} steps, and dispatches "
         "are given for one step alone",
         n_tokens, shape.steps, shape.dispatches, SubmitShape::kStepsMax);
  }
  const Runner::InUse in_use(impl_->runner);
  const Session session = new_session();
  const uint32_t slot = session.impl_->slot;
  kernels::ControlBlock block = kernels::control_block({.temperature = 0});
  block.limit = UINT32_MAX;  // a frozen text would leave work out
  impl_->runner.begin_request(slot, block);
  const auto input_of = [&](uint32_t id) {
    kernels::StepInput input(impl_->runner.tokens_max());
    input.add_chunk({slot, std::span(&id, 1)});
    input.add_output({0, slot, true});
    return input;
  };
  impl_->runner.submit(input_of(1));
  return impl_->runner.time_submits(input_of(kernels::kFeedback), shape, n_tokens);
}

MeasuredLimits Engine::measure_limits() {
  const Runner::InUse in_use(impl_->runner);
  return impl_->runner.measure_limits();
}

std::vector<Completion> Engine::generate(std::span<const Request> requests) {
  std::vector<ScheduledRequest> scheduled;
  for (const Request& request : requests)
    scheduled.push_back({request.session->impl_.get(), request.ids, &request.options});
  return run_requests(*impl_, scheduled);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::vector<uint32_t> Session::Impl::take_pending(std::span<const uint32_t> ids) {
  engine.check_ids(ids);
  engine.runner.begin_request(slot, {});  // a generation that came to its end froze the slot
  std::vector<uint32_t> all;
  if (pending) all.push_back(*pending);
  pending.reset();
  all.insert(all.end(), ids.begin(), ids.end());
  remember(ids);
  return all;
}

void Session::Impl::remember(std::span<const uint32_t> ids) {
  if (!ids.empty()) undecoded.clear();  // no token of these ends that character
  history.insert(history.end(), ids.begin(), ids.end());
  constexpr size_t kMax = SamplerParams::kDryRangeMax;
  if (history.size() > 2 * kMax) history.erase(history.begin(), history.end() - ptrdiff_t(kMax));
}

void Session::Impl::feed_checked(std::span<const uint32_t> ids) {
  const Runner::InUse in_use(engine.runner);
  while (!ids.empty()) {
    engine.check_cancelled();
    const size_t n = std::min<size_t>(engine.chunk, ids.size());
    advance(ids.first(n));
    ids = ids.subspan(n);
  }
}

void Session::Impl::advance(std::span<const uint32_t> ids) {
  note_fed(ids);
  size_t n_done = 0;
  try {
    submit(ids, n_done);
  } catch (...) {
    if (engine.runner.take_undone()) {
      note_unfed(ids.size() - n_done);
      pending.reset();
      throw;
    }
    if (engine.in_flight || !engine.recover()) throw;  // which submits what is noted
  }
}

void Session::Impl::submit(std::span<const uint32_t> ids) {
  size_t n_done = 0;
  submit(ids, n_done);
}

void Session::Impl::submit(std::span<const uint32_t> ids, size_t& n_done) {
  while (n_done < ids.size()) {
    const size_t n = std::min<size_t>(engine.chunk, ids.size() - n_done);
    engine.input.clear();
    engine.input.add_chunk({slot, ids.subspan(n_done, n)});
    engine.runner.submit(engine.input);
    n_done += n;
    engine.runner.pace();
  }
}

void Session::Impl::feed(std::span<const uint32_t> ids) {
  const uint64_t n_before = n_tokens;
  const auto kept = std::pair(pending, undecoded);
  const std::vector<uint32_t> all = take_pending(ids);
  try {
    feed_checked(all);
  } catch (...) {
    const uint64_t n_fed = n_tokens - n_before;
    if (n_fed == 0) std::tie(pending, undecoded) = kept;
    const size_t n_unfed = all.size() - n_fed - (n_fed == 0 && pending ? 1 : 0);  // the history had that one before
    history.resize(history.size() - std::min<size_t>(history.size(), n_unfed));
    throw;
  }
}

void Session::feed(std::span<const uint32_t> ids) {
  impl_->shorten_past();
  impl_->feed(ids);
}

void Session::wait() {
  impl_->engine.retry([&] { impl_->engine.runner.wait(); });
}

std::vector<float> Session::logits(std::span<const uint32_t> ids) {
  if (ids.empty()) fail(ErrorCode::bad_request, "logits of no tokens");
  Engine::Impl& engine = impl_->engine;
  engine.check_ids(ids);
  const std::span<const uint32_t> last = ids.last((ids.size() - 1) % engine.chunk + 1);
  feed(ids.first(ids.size() - last.size()));
  const Runner::InUse in_use(engine.runner);
  engine.check_cancelled();
  std::vector<float> logits = engine.retry([&] { return impl_->logits_after(last); });
  impl_->note_fed(last);
  impl_->remember(last);
  return logits;
}

std::vector<float> Session::Impl::logits_after(std::span<const uint32_t> ids) {
  const uint32_t n = uint32_t((ids.size() - 1) % engine.chunk) + 1;  // all, but where the GPU was lost meanwhile
  submit(ids.first(ids.size() - n));
  engine.input.clear();
  engine.input.add_chunk({slot, ids.last(n)});
  engine.input.add_output({n - 1, slot, false});
  engine.runner.submit(engine.input);
  return engine.runner.read_logits();
}

void Session::logits_of_each(std::span<const uint32_t> ids,
                             const std::function<void(size_t, std::span<const float>)>& visit) {
  Engine::Impl& engine = impl_->engine;
  engine.check_ids(ids);
  const Runner::InUse in_use(engine.runner);
  feed({});  // the pending token, whose logits nobody asked for
  const size_t n_vocab = engine.runner.config().n_vocab;
  for (size_t first = 0; first < ids.size();) {
    engine.check_cancelled();
    const std::vector<float> logits = engine.retry([&] { return impl_->logits_of_step(ids.subspan(first)); });
    const size_t n = logits.size() / n_vocab;
    impl_->note_fed(ids.subspan(first, n));
    impl_->remember(ids.subspan(first, n));
    for (size_t i = 0; i < n; ++i) visit(first + i, std::span(logits).subspan(i * n_vocab, n_vocab));
    first += n;
  }
}

std::vector<float> Session::Impl::logits_of_step(std::span<const uint32_t> ids) {
  const uint32_t n = uint32_t(std::min<size_t>(std::min(engine.chunk, engine.runner.outputs_max()), ids.size()));
  engine.input.clear();
  engine.input.add_chunk({slot, ids.first(n)});
  for (uint32_t i = 0; i < n; ++i) engine.input.add_output({i, slot, false});
  engine.runner.submit(engine.input);
  return engine.runner.read_logits();
}

std::vector<double> Session::score(std::span<const uint32_t> ids, const std::function<void(size_t)>& on_progress) {
  std::vector<double> scores;
  if (ids.empty()) return scores;
  impl_->engine.check_ids(ids);
  logits_of_each(ids.first(ids.size() - 1), [&](size_t i, std::span<const float> logits) {
    scores.push_back(log_sum_exp(logits) - logits[ids[i + 1]]);
    if (!std::isfinite(scores.back())) {
      fail(ErrorCode::unsupported,
           "the model's logits are not finite after {} tokens: its weights or its numbers overflow", i + 1);
    }
    if (on_progress) on_progress(scores.size());
  });
  feed(ids.last(1));
  return scores;
}

Completion Session::generate(std::span<const uint32_t> ids, const GenerateOptions& options) {
  const ScheduledRequest request{impl_.get(), {ids.begin(), ids.end()}, &options};
  return std::move(run_requests(impl_->engine, {&request, 1}).front());
}

State Session::state() {
  return impl_->engine.retry([&] { return impl_->engine.runner.read_state(impl_->slot); });
}

uint64_t Session::n_tokens() const { return impl_->n_tokens; }
uint32_t Session::id() const { return impl_->slot; }

void Session::reset() {
  impl_->engine.runner.reset_slot(impl_->slot);
  impl_->n_tokens = 0;
  impl_->pending.reset();
  impl_->undecoded.clear();
  impl_->past = {};
  impl_->history.clear();
}

Session Session::fork() {
  const uint32_t slot = impl_->engine.free_slot();
  auto copy = std::make_unique<Impl>(impl_->engine, slot);
  impl_->engine.runner.copy_slot(impl_->slot, slot);
  copy->n_tokens = impl_->n_tokens;
  copy->pending = impl_->pending;
  copy->undecoded = impl_->undecoded;
  copy->past = impl_->past;
  copy->history = impl_->history;
  return Session(std::move(copy));
}

SessionSnapshot Session::Impl::snapshot(SessionSnapshot used) {
  SessionSnapshot snapshot = engine.runner.read_slot(slot, std::move(used));
  snapshot.n_tokens = n_tokens;
  snapshot.pending = pending;
  snapshot.undecoded = undecoded;
  snapshot.history = history;
  if (std::all_of(snapshot.counts.begin(), snapshot.counts.end(), [](float count) { return count == 0; }))
    snapshot.counts.clear();
  return snapshot;
}

SessionSnapshot Session::snapshot(SessionSnapshot used) {
  return impl_->engine.retry([&] { return impl_->snapshot(std::move(used)); });
}

void Session::Impl::check(const SessionSnapshot& snapshot) const {
  const rwkv7::Config& config = engine.runner.config();
  const State& state = snapshot.state;
  state.validate();
  if (state.n_layer != config.n_layer || state.n_head != config.n_head || state.head_size != config.head_size) {
    fail(ErrorCode::bad_request, "the snapshot's state has {} layers of {} heads of {}, the model's {} of {} of {}",
         state.n_layer, state.n_head, state.head_size, config.n_layer, config.n_head, config.head_size);
  }
  if (!snapshot.counts.empty() && snapshot.counts.size() != config.n_vocab) {
    fail(ErrorCode::bad_request, "the snapshot counts {} tokens, the model has {}", snapshot.counts.size(),
         config.n_vocab);
  }
  if (snapshot.pending) engine.check_ids({&*snapshot.pending, 1});
  engine.check_ids(snapshot.history);
  if (!std::isfinite(snapshot.mirostat_mu))
    fail(ErrorCode::bad_request, "the snapshot's mirostat_mu is {}, must be finite", snapshot.mirostat_mu);
}

void Session::Impl::restore(const SessionSnapshot& snapshot,
                            const std::function<std::shared_ptr<const SessionSnapshot>()>& kept) {
  engine.retry([&] { engine.runner.write_slot(slot, snapshot); });
  Past next;
  try {
    next.base = kept();
    next.mirostat_mu = snapshot.mirostat_mu;
    std::vector<uint32_t> tokens = snapshot.history;
    std::string bytes = snapshot.undecoded;
    history = std::move(tokens);
    undecoded = std::move(bytes);
  } catch (...) {  // no memory: back to where it was
    rebuild();
    throw;
  }
  n_tokens = snapshot.n_tokens;
  pending = snapshot.pending;
  past = std::move(next);
}

void Session::restore(const SessionSnapshot& snapshot) {
  impl_->check(snapshot);
  // The session needs a copy, to begin again from should the GPU be lost. It is made by another thread while this one
  // hands the state to the GPU: both move as many bytes, 21 MB of a 2.9B model.
  auto copy = std::async(std::launch::async, [&] { return std::make_shared<const SessionSnapshot>(snapshot); });
  impl_->restore(snapshot, [&] { return copy.get(); });
}

void Session::restore(std::shared_ptr<const SessionSnapshot> snapshot) {
  if (!snapshot) fail(ErrorCode::bad_request, "there is no snapshot to restore");
  impl_->check(*snapshot);
  impl_->restore(*snapshot, [&] { return snapshot; });
}

void Session::save(const std::filesystem::path& path) {
  Engine::Impl& engine = impl_->engine;
  write_session_file(path, snapshot(), engine.runner.config(), engine.hash_of_model());
}

void Session::load(const std::filesystem::path& path) {
  Engine::Impl& engine = impl_->engine;
  restore(
      std::make_shared<const SessionSnapshot>(read_session_file(path, engine.runner.config(), engine.hash_of_model())));
}

std::vector<std::byte> Session::to_bytes() {
  Engine::Impl& engine = impl_->engine;
  return session_bytes(snapshot(), engine.runner.config(), engine.hash_of_model());
}

void Session::from_bytes(std::span<const std::byte> bytes) {
  Engine::Impl& engine = impl_->engine;
  restore(std::make_shared<const SessionSnapshot>(
      read_session_bytes(bytes, engine.runner.config(), engine.hash_of_model())));
}

}  // namespace ravenwing
