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
          options.layer == -1 && options.pooling != Pooling::state};
}

/// To a length of 1, but for zeros.
void normalize(std::span<float> values) {
  double squares = 0;
  for (const float value : values) squares += double(value) * value;
  const double factor = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (float& value : values) value = float(value * factor);
}

size_t n_values(const rwkv7::Config& config, Pooling pooling) {
  return size_t(config.n_embd) * (pooling == Pooling::state ? config.head_size : 1);
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
        n_values_(n_values(engine.runner.config(), options.pooling)),
        pooled_(engine.sessions.size() * engine.runner.config().n_embd),
        vectors_(texts.size() * n_values_) {
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
    // States are read before the next text has the slot.
    const size_t n_in_flight = options_.pooling == Pooling::state ? 1 : kernels::kStepsInFlight;
    for (size_t n_done = 0; n_done < texts_.size();) {
      engine_.check_cancelled();
      while (steps_.size() < n_in_flight && launch()) continue;
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
      const auto vector = std::span(vectors_).subspan(ended.text * n_values_, n_values_);
      fill(vector, ended);
      if (!std::ranges::all_of(vector, [](float value) { return std::isfinite(value); })) {
        fail(ErrorCode::unsupported,
             "the vector of a text of {} tokens is not finite: the model's weights or its numbers overflow",
             ended.n_fed);
      }
      if (options_.normalize) normalize(vector);
    }
    return step.size();
  }

  void fill(std::span<float> vector, const Active& ended) {
    const rwkv7::Config& config = engine_.runner.config();
    if (options_.pooling == Pooling::state) {
      std::ranges::copy(engine_.runner.read_wkv(readout_.n_layers - 1, ended.slot), vector.begin());
      if (!options_.normalize) return;
      for (size_t first = 0; first < vector.size(); first += config.head_size)
        normalize(vector.subspan(first, config.head_size));
      return;
    }
    const double scale = options_.pooling == Pooling::mean ? 1.0 / double(ended.n_fed) : 1.0;
    const auto row = std::span(pooled_).subspan(size_t(ended.slot) * config.n_embd, config.n_embd);
    std::ranges::transform(row, vector.begin(), [&](float value) { return float(value * scale); });
  }

  Engine::Impl& engine_;
  Texts texts_;
  const EmbeddingOptions& options_;
  rwkv7::Readout readout_;
  uint32_t after_;   // StepChunk::after of every text
  size_t n_values_;  // of a vector
  std::vector<float> pooled_, vectors_;
  std::deque<uint32_t> free_;  // slots
  std::vector<Active> actives_;
  size_t next_ = 0;  // text
  std::deque<Step> steps_;
};

}  // namespace

std::string_view name(Pooling pooling) {
  constexpr std::string_view kNames[] = {"last", "mean", "state"};
  return kNames[size_t(pooling)];
}

size_t Engine::embedding_size(Pooling pooling) const { return n_values(impl_->runner.config(), pooling); }

std::vector<float> Engine::embed(Texts texts, const EmbeddingOptions& options, Session* prefix) {
  for (const std::vector<uint32_t>& text : texts) impl_->check_ids(text);
  if (prefix != nullptr && &prefix->impl_->engine != impl_.get())
    fail(ErrorCode::bad_request, "the prefix is a session of another engine");
  const Runner::InUse in_use(impl_->runner);
  if (prefix != nullptr) prefix->feed({});  // its pending token
  const uint32_t after = prefix != nullptr ? kernels::kAfterSlot + prefix->impl_->slot : kernels::kBegins;
  std::vector<std::vector<uint32_t>> closed;
  if (options.pooling == Pooling::last && !options.closing.empty()) {
    const std::vector<uint32_t> closing = tokenizer().encode(options.closing);
    for (const std::vector<uint32_t>& text : texts)
      closed.emplace_back(text).insert(closed.back().end(), closing.begin(), closing.end());
    texts = closed;
  }
  std::vector<float> vectors = impl_->retry([&] { return Embedder(*impl_, texts, options, after).run(); });
  impl_->runner.end_of_answer();
  return vectors;
}

}  // namespace ravenwing
