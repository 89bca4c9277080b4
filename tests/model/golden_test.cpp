// tests/model/golden_test.cpp: the trained model with F16 weights against the fp32 reference (tests/data/golden).
#include <algorithm>
#include <numeric>

#include "model/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

/// The largest differences that a test saw.
struct Worst {
  float logits = 0;
  double states = 0;
};

/// Ids of the `n` largest logits, the largest first.
Ids top_ids(std::span<const float> logits, size_t n) {
  Ids ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + std::ptrdiff_t(n), ids.end(),
                    [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  ids.resize(n);
  return ids;
}

void check_logits(std::span<const float> logits, const Prompt& prompt, float bound, Worst& worst) {
  float largest = 0;
  for (const auto& [id, expected] : prompt.top20)
    largest = std::max(largest, max_difference({&logits[id], 1}, {&expected, 1}));
  if (const auto expected = golden_logits(prompt.name)) largest = std::max(largest, max_difference(logits, *expected));
  CHECK(largest <= bound);
  worst.logits = std::max(worst.logits, largest);
  const Ids top = top_ids(logits, 5);
  for (size_t rank = 0; rank < top.size(); ++rank) {
    // Neighbours closer than this may change places.
    if (prompt.top20[rank].second - prompt.top20[rank + 1].second < 2 * bound) break;
    CHECK(top[rank] == prompt.top20[rank].first);
  }
}

void check_state(rwkv7::Model& model, uint32_t slot, const Prompt& prompt, double bound, Worst& worst) {
  const auto expected = golden_state(prompt.name);
  if (!expected) return;
  const double difference = state_difference(model.states().read(slot), *expected, model.config().n_layer);
  CHECK(difference <= bound);
  worst.states = std::max(worst.states, difference);
}

/// Ids up to the first step at which the reference's own choice is closer than the arithmetic can tell.
size_t check_greedy(const Ids& found, const Prompt& prompt, float bound) {
  REQUIRE(found.size() == prompt.greedy_ids.size());
  size_t step = 0;
  for (; step < found.size() && prompt.greedy_margin[step] >= 2 * bound; ++step) {
    CAPTURE(step);
    CHECK(found[step] == prompt.greedy_ids[step]);
  }
  return step;
}

kernels::ControlBlock greedy_control(uint32_t limit) {
  kernels::ControlBlock block;
  block.limit = limit;
  return block;
}

/// Continues the prompts, prompt i in slot i, all in the same steps: sampled on the GPU, fed back there.
std::vector<Ids> greedy(rwkv7::Model& model, std::span<const Prompt> prompts, uint32_t limit) {
  static const Ids feedback = {kernels::kFeedback};
  std::vector<Part> parts;
  for (uint32_t slot = 0; slot < prompts.size(); ++slot) {
    model.reset_slot(slot);
    model.states().write_control(slot, greedy_control(limit));
    parts.push_back({slot, prompts[slot].ids, Outputs::last, true});
  }
  submit(model, parts);
  for (Part& part : parts) part.ids = feedback;
  std::vector<Ids> continuations(prompts.size());
  for (uint32_t step = 0; step < limit; ++step) {
    if (step > 0) submit(model, parts);
    const std::vector<rwkv7::Sampled> sampled = model.read_sampled();
    REQUIRE(sampled.size() == prompts.size());
    for (size_t i = 0; i < sampled.size(); ++i) {
      continuations[i].push_back(sampled[i].id);
      CHECK(sampled[i].frozen == (step + 1 == limit ? kernels::Frozen::limit : kernels::Frozen::no));
    }
  }
  return continuations;
}

/// Each prompt by itself from the zero state: one kernel after another as its length asks for.
void check_alone(rwkv7::Model& model, const std::vector<Prompt>& prompts, Bounds bounds, Worst& worst) {
  for (const Prompt& prompt : prompts) {
    CAPTURE(prompt.name);
    check_logits(feed_new(model, 0, prompt.ids), prompt, bounds.logits, worst);
    check_state(model, 0, prompt, bounds.states, worst);
  }
}

/// All prompts in one step, a slot each.
void check_together(rwkv7::Model& model, const std::vector<Prompt>& prompts, Bounds bounds, Worst& worst) {
  std::vector<Part> parts;
  for (uint32_t slot = 0; slot < prompts.size(); ++slot) {
    model.reset_slot(slot);
    parts.push_back({slot, prompts[slot].ids});
  }
  const std::vector<float> logits = run(model, parts);
  const uint32_t n_vocab = model.config().n_vocab;
  REQUIRE(logits.size() == prompts.size() * n_vocab);
  for (uint32_t slot = 0; slot < prompts.size(); ++slot) {
    CAPTURE(prompts[slot].name);
    check_logits(std::span(logits).subspan(size_t(slot) * n_vocab, n_vocab), prompts[slot], bounds.logits, worst);
    check_state(model, slot, prompts[slot], bounds.states, worst);
  }
}

void check_continuations(rwkv7::Model& model, const std::vector<Prompt>& prompts, Bounds bounds) {
  const uint32_t limit = uint32_t(prompts.front().greedy_ids.size());
  size_t n_compared = 0;
  const std::vector<Ids> continuations = greedy(model, prompts, limit);
  for (size_t i = 0; i < prompts.size(); ++i) {
    CAPTURE(prompts[i].name);
    n_compared += check_greedy(continuations[i], prompts[i], bounds.logits);
  }
  MESSAGE(fmt::format("greedy: {} of {} tokens compared", n_compared, prompts.size() * limit));
}

void check_golden(Tier tier, const std::optional<std::filesystem::path>& path) {
  const auto device = open_device(tier);
  if (!device || !path) return;
  const std::vector<Prompt> prompts = golden_prompts();
  rwkv7::ModelOptions options;
  options.n_slots = uint32_t(prompts.size());
  GpuModel loaded(*device, *path, options);
  Worst alone, together;
  check_alone(loaded.model, prompts, bounds_of(tier), alone);
  check_together(loaded.model, prompts, bounds_of(tier), together);
  check_continuations(loaded.model, prompts, bounds_of(tier));
  MESSAGE(fmt::format("{} {} alone: logits {:.2g}, states {:.2g}; together: logits {:.2g}, states {:.2g}",
                      gpu::name(tier), path->filename().string(), alone.logits, alone.states, together.logits,
                      together.states));
}

/// Both files hold the same F16 weights but for w1 and w2, which the GGUF has in F32: widened, not other numbers.
void check_containers_agree(Tier tier) {
  const auto device = open_device(tier);
  const auto safetensors = tiny_safetensors(), gguf = tiny_gguf("F16");
  if (!device || !safetensors || !gguf) return;
  const Ids ids = golden_prompts().front().ids;
  GpuModel first(*device, *safetensors), second(*device, *gguf);
  CHECK(same_bits(feed_new(first.model, 0, ids, Outputs::all), feed_new(second.model, 0, ids, Outputs::all)));
  CHECK(same_bits(first.model.states().read(0), second.model.states().read(0)));
}

}  // namespace

TEST_SUITE("golden_t0") {
  TEST_CASE("safetensors F16 gives the reference's logits, states and text on T0") {
    check_golden(Tier::t0, tiny_safetensors());
  }
  TEST_CASE("GGUF and safetensors of the same weights agree to the bit on T0") { check_containers_agree(Tier::t0); }
}

TEST_SUITE("golden_t1") {
  TEST_CASE("GGUF F16 gives the reference's logits, states and text on T1") {
    check_golden(Tier::t1, tiny_gguf("F16"));
  }
  TEST_CASE("GGUF and safetensors of the same weights agree to the bit on T1") { check_containers_agree(Tier::t1); }
}

TEST_SUITE("golden_slow") {
  TEST_CASE("GGUF F16 gives the reference's logits, states and text on T0") {
    check_golden(Tier::t0, tiny_gguf("F16"));
  }
  TEST_CASE("safetensors F16 gives the reference's logits, states and text on T1") {
    check_golden(Tier::t1, tiny_safetensors());
  }
}

TEST_SUITE("t2") {
  TEST_CASE("GGUF F16 gives the reference's logits, states and text on T2") {
    check_golden(Tier::t2, tiny_gguf("F16"));
  }
  TEST_CASE("GGUF and safetensors of the same weights agree to the bit on T2") { check_containers_agree(Tier::t2); }
}
