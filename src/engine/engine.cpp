// src/engine/engine.cpp: a loaded model, its slots, and the CPU's part of a session.
#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "engine/engine_impl.hpp"
#include "engine/scheduler.hpp"

namespace ravenwing {
namespace {

uint32_t checked_chunk(uint32_t chunk, uint32_t tokens_max) {
  if (chunk == 0 || chunk > tokens_max) fail(ErrorCode::bad_request, "chunk is {}, must be 1 to {}", chunk, tokens_max);
  return chunk;
}

uint32_t checked_sessions(const EngineOptions& options) {
  if (options.max_sessions == 0) fail(ErrorCode::bad_request, "max_sessions is 0, must be at least 1");
  return options.max_sessions;
}

/// -ln softmax(logits)[id], the sum in double.
double negative_log_likelihood(std::span<const float> logits, uint32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum) - logits[id];
}

}  // namespace

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
  }
  return "unknown";
}

Engine::Impl::Impl(const EngineOptions& options)
    : info(inspect(options.model)),
      tokenizer(model_tokenizer(options.model, options.vocab)),
      runner(options),
      chunk(checked_chunk(options.chunk, runner.tokens_max())),
      cancel(options.cancel),
      slot_used(checked_sessions(options)),
      input(runner.tokens_max()) {}

void Engine::Impl::check_cancelled() const {
  if (cancel != nullptr && *cancel) fail(ErrorCode::cancelled, "cancelled");
}

void Engine::Impl::check_ids(std::span<const uint32_t> ids) const {
  const uint32_t n_vocab = runner.config().n_vocab;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= n_vocab) {
      fail(ErrorCode::bad_request, "token {} is id {}, the model's ids are below {} (is the vocabulary the model's own?)", i, ids[i], n_vocab);
    }
  }
}

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelInfo& Engine::model() const { return impl_->info; }
const DeviceInfo& Engine::device() const { return impl_->runner.device(); }
const Tokenizer& Engine::tokenizer() const { return impl_->tokenizer; }
MemoryUse Engine::memory() const { return impl_->runner.memory(); }
double Engine::load_ms() const { return impl_->runner.load_ms(); }
double Engine::device_ms() const { return impl_->runner.device_ms(); }

Session Engine::new_session() {
  const auto free = std::find(impl_->slot_used.begin(), impl_->slot_used.end(), false);
  if (free == impl_->slot_used.end()) {
    fail(ErrorCode::bad_request, "all {} sessions are in use: destroy one, or raise max_sessions", impl_->slot_used.size());
  }
  const uint32_t slot = uint32_t(free - impl_->slot_used.begin());
  impl_->runner.reset_slot(slot);
  *free = true;
  return Session(std::make_unique<Session::Impl>(*impl_, slot));
}

std::vector<Completion> Engine::generate(std::span<const Request> requests) {
  std::vector<ScheduledRequest> scheduled;
  for (const Request& request : requests) scheduled.push_back({request.session->impl_.get(), request.ids, &request.options});
  return run_requests(*impl_, scheduled);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::vector<uint32_t> Session::Impl::take_pending(std::span<const uint32_t> ids) {
  engine.check_ids(ids);
  engine.runner.write_control(slot, {});  // a generation that came to its end froze the slot
  std::vector<uint32_t> all;
  if (pending) all.push_back(*pending);
  pending.reset();
  all.insert(all.end(), ids.begin(), ids.end());
  return all;
}

void Session::feed(std::span<const uint32_t> ids) {
  Engine::Impl& engine = impl_->engine;
  const std::vector<uint32_t> all = impl_->take_pending(ids);
  for (size_t first = 0; first < all.size(); first += engine.chunk) {
    engine.check_cancelled();
    const auto part = std::span(all).subspan(first, std::min<size_t>(engine.chunk, all.size() - first));
    engine.input.clear();
    engine.input.add_chunk({impl_->slot, part});
    engine.runner.submit(engine.input);
    impl_->n_tokens += part.size();
  }
}

std::vector<float> Session::logits(std::span<const uint32_t> ids) {
  if (ids.empty()) fail(ErrorCode::bad_request, "logits of no tokens");
  feed(ids.first(ids.size() - 1));
  std::vector<float> result;
  logits_of_each(ids.last(1), [&](size_t, std::span<const float> row) { result.assign(row.begin(), row.end()); });
  return result;
}

void Session::logits_of_each(std::span<const uint32_t> ids, const std::function<void(size_t, std::span<const float>)>& visit) {
  Engine::Impl& engine = impl_->engine;
  engine.check_ids(ids);
  feed({});  // the pending token, whose logits nobody asked for
  const size_t n_vocab = engine.runner.config().n_vocab;
  const size_t n_step = std::min(engine.chunk, engine.runner.outputs_max());
  for (size_t first = 0; first < ids.size(); first += n_step) {
    engine.check_cancelled();
    const auto part = ids.subspan(first, std::min(n_step, ids.size() - first));
    engine.input.clear();
    engine.input.add_chunk({impl_->slot, part});
    for (uint32_t i = 0; i < part.size(); ++i) engine.input.add_output({i, impl_->slot, false});
    engine.runner.submit(engine.input);
    impl_->n_tokens += part.size();
    const std::vector<float> logits = engine.runner.read_logits();
    for (size_t i = 0; i < part.size(); ++i) visit(first + i, std::span(logits).subspan(i * n_vocab, n_vocab));
  }
}

std::vector<double> Session::score(std::span<const uint32_t> ids, const std::function<void(size_t)>& on_progress) {
  std::vector<double> scores;
  if (ids.empty()) return scores;
  impl_->engine.check_ids(ids);
  logits_of_each(ids.first(ids.size() - 1), [&](size_t i, std::span<const float> logits) {
    scores.push_back(negative_log_likelihood(logits, ids[i + 1]));
    if (on_progress) on_progress(scores.size());
  });
  feed(ids.last(1));
  return scores;
}

Completion Session::generate(std::span<const uint32_t> ids, const GenerateOptions& options) {
  const ScheduledRequest request{impl_.get(), {ids.begin(), ids.end()}, &options};
  return std::move(run_requests(impl_->engine, {&request, 1}).front());
}

SessionState Session::state() { return impl_->engine.runner.read_state(impl_->slot); }

uint64_t Session::n_tokens() const { return impl_->n_tokens; }

void Session::reset() {
  impl_->engine.runner.reset_slot(impl_->slot);
  impl_->n_tokens = 0;
  impl_->pending.reset();
}

}  // namespace ravenwing
