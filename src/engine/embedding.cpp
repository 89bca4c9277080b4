// src/engine/embedding.cpp: vectors of many texts. Each step takes as many tokens as it may, of as many texts as that
// are: there is no padding, and long texts go on in the next.
#include "ravenwing/embedding.hpp"

#include <cmath>
#include <deque>

#include "base/error.hpp"
#include "engine/engine_impl.hpp"

namespace ravenwing {
namespace {

using Texts = std::span<const std::vector<uint32_t>>;
/// Of a text without tokens, the end of a text: as generations begin.
constexpr uint32_t kNoText[] = {0};

std::span<const uint32_t> ids_of(const std::vector<uint32_t>& text) {
  return text.empty() ? std::span<const uint32_t>(kNoText) : std::span(text);
}

rwkv7::Readout readout_of(const EmbeddingOptions& options, uint32_t n_layer) {
  const int64_t layer = options.layer + (options.layer < 0 ? int64_t(n_layer) : 0);
  if (layer < 0 || layer >= n_layer)
    fail(ErrorCode::bad_request, "layer is {}, must be -{} to {}", options.layer, n_layer, n_layer - 1);
  return {uint32_t(layer) + 1, options.pooling == Pooling::mean ? kernels::Pooled::sum : kernels::Pooled::last,
          options.layer == -1};
}

/// `row` as its text's vector: what pooling gave, of `n_tokens`.
void finish(std::span<float> row, const EmbeddingOptions& options, size_t n_tokens) {
  const double scale = options.pooling == Pooling::mean ? 1.0 / double(n_tokens) : 1.0;
  double squares = 0;
  for (const float value : row) squares += double(value) * value;
  if (!std::isfinite(squares)) {
    fail(ErrorCode::unsupported,
         "the hidden vectors of a text of {} tokens are not finite: the model's weights or its numbers overflow",
         n_tokens);
  }
  const double factor = options.normalize ? (squares > 0 ? 1 / std::sqrt(squares) : 0) : scale;
  for (float& value : row) value = float(value * factor);
}

/// The texts on their way through the model.
class Embedder {
 public:
  Embedder(Engine::Impl& engine, Texts texts, const EmbeddingOptions& options, uint32_t after)
      : engine_(engine),
        texts_(texts),
        options_(options),
        readout_(readout_of(options, engine.runner.config().n_layer)),
        after_(after),
        n_embd_(engine.runner.config().n_embd),
        pooled_(engine.sessions.size() * n_embd_),
        vectors_(texts.size() * n_embd_) {
    for (uint32_t slot = 0; slot < engine.sessions.size(); ++slot) {
      if (engine.sessions[slot] != nullptr) continue;
      free_.push_back(slot);
      engine.runner.begin_request(slot, {});  // the slot's last text may have come to its end
    }
    if (free_.empty()) {
      fail(ErrorCode::bad_request, "all {} sessions are in use, and embeddings need a free one: max_sessions",
           engine.sessions.size());
    }
  }
  ~Embedder() { engine_.runner.forget_pooled(); }
  Embedder(const Embedder&) = delete;
  Embedder& operator=(const Embedder&) = delete;

  std::vector<float> run() {
    for (size_t n_done = 0; n_done < texts_.size();) {
      engine_.check_cancelled();
      while (steps_.size() < kernels::kStepsInFlight && launch()) continue;
      const size_t n = take();
      n_done += n;
      if (n > 0 && options_.on_progress) options_.on_progress(n_done);
    }
    return std::move(vectors_);
  }

 private:
  struct Active {
    size_t text;
    uint32_t slot;
    size_t n_fed;
  };
  /// Texts that end in a step.
  using Step = std::vector<Active>;

  /// False where all texts are on their way.
  bool launch() {
    engine_.input.clear();
    Step ending;
    uint32_t budget = engine_.chunk;
    for (Active& active : actives_) budget -= add(active, budget);
    while (budget > 0 && next_ < texts_.size() && !free_.empty()) {
      actives_.push_back({next_++, free_.front(), 0});
      free_.pop_front();
      budget -= add(actives_.back(), budget);
    }
    if (engine_.input.n_tokens() == 0) return false;
    std::erase_if(actives_, [&](const Active& active) {
      if (active.n_fed < ids_of(texts_[active.text]).size()) return false;
      ending.push_back(active);
      free_.push_back(active.slot);
      return true;
    });
    engine_.runner.launch_pooled(engine_.input, readout_);
    steps_.push_back(std::move(ending));
    return true;
  }

  /// As much of a text as a step has room for.
  uint32_t add(Active& active, uint32_t budget) {
    const auto rest = ids_of(texts_[active.text]).subspan(active.n_fed);
    const auto ids = rest.first(std::min<size_t>(rest.size(), budget));
    if (ids.empty()) return 0;
    engine_.input.add_chunk({active.slot, ids, active.n_fed == 0 ? after_ : kernels::kGoesOn});
    active.n_fed += ids.size();
    return uint32_t(ids.size());
  }

  /// The vectors of the oldest step's texts; returns how many there are.
  size_t take() {
    engine_.runner.take_pooled(pooled_);
    const Step step = std::move(steps_.front());
    steps_.pop_front();
    for (const Active& ended : step) {
      const auto row = std::span(vectors_).subspan(ended.text * n_embd_, n_embd_);
      std::ranges::copy(std::span(pooled_).subspan(ended.slot * n_embd_, n_embd_), row.begin());
      finish(row, options_, ended.n_fed);
    }
    return step.size();
  }

  Engine::Impl& engine_;
  Texts texts_;
  const EmbeddingOptions& options_;
  rwkv7::Readout readout_;
  uint32_t after_;  // StepChunk::after of every text
  size_t n_embd_;
  std::vector<float> pooled_, vectors_;
  std::deque<uint32_t> free_;  // slots
  std::vector<Active> actives_;
  size_t next_ = 0;  // text
  std::deque<Step> steps_;
};

}  // namespace

std::string_view name(Pooling pooling) { return pooling == Pooling::last ? "last" : "mean"; }

std::vector<float> Engine::embed(Texts texts, const EmbeddingOptions& options, Session* prefix) {
  for (const std::vector<uint32_t>& text : texts) impl_->check_ids(text);
  if (prefix != nullptr && &prefix->impl_->engine != impl_.get())
    fail(ErrorCode::bad_request, "the prefix is a session of another engine");
  const Runner::InUse in_use(impl_->runner);
  if (prefix != nullptr) prefix->feed({});  // its pending token
  const uint32_t after = prefix != nullptr ? kernels::kAfterSlot + prefix->impl_->slot : kernels::kBegins;
  std::vector<float> vectors = impl_->retry([&] { return Embedder(*impl_, texts, options, after).run(); });
  impl_->runner.end_of_answer();
  return vectors;
}

}  // namespace ravenwing
