// tests/model/pooled_test.cpp: steps that give one vector for each text, against the CPU reference.
#include "model/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;
using kernels::Pooled;

namespace {

struct Text {
  uint32_t slot, after;
  Ids ids;
  std::vector<float> expected;  // what the reference keeps of it
};

/// Rows of the reference: the last one, or the sum of all.
std::vector<float> pooled(const std::vector<float>& rows, size_t n_embd, Pooled kept) {
  if (kept == Pooled::last) return {rows.end() - ptrdiff_t(n_embd), rows.end()};
  std::vector<float> sums(n_embd);
  for (size_t i = 0; i < rows.size(); ++i) sums[i % n_embd] += rows[i];
  return sums;
}

/// Three texts in two steps: one that ends in the first, one that goes on in the second, one that goes on from the
/// state that slot 3 has.
void check_readout(GpuModel& loaded, const rwkv7::Reference& reference, const rwkv7::Readout& readout, double bound) {
  const rwkv7::Config& config = reference.config();
  const size_t n = config.n_embd;
  const Ids ids = validation_ids(), before(ids.begin(), ids.begin() + 5);
  std::vector<Text> texts = {{2, kernels::kBegins, {ids.begin() + 10, ids.begin() + 13}, {}},
                             {0, kernels::kBegins, {ids.begin() + 20, ids.begin() + 29}, {}},
                             {1, kernels::kAfterSlot + 3, {ids.begin() + 40, ids.begin() + 44}, {}}};
  for (Text& text : texts) {
    rwkv7::RefState state(config);
    if (text.after >= kernels::kAfterSlot) reference.forward(before, state);
    text.expected = pooled(reference.hidden(text.ids, state, readout.n_layers, readout.normed), n, readout.pooled);
    for (float& value : state.wkv) value = 1;
    // What the slot had before must not matter.
    loaded.model.states().write(text.slot, {state.time_shift, state.wkv, state.channel_shift});
  }
  loaded.model.reset_slot(3);
  feed(loaded.model, 3, before, {before.size()}, Outputs::none);

  std::vector<float> rows(loaded.model.states().n_slots() * n);
  kernels::StepInput input(loaded.model.tokens_max());
  const auto check = [&](const Text& text) {
    const auto found = std::span(rows).subspan(text.slot * n, n);
    double squares = 0, of_difference = 0;
    for (size_t i = 0; i < n; ++i) {
      squares += double(text.expected[i]) * text.expected[i];
      of_difference += std::pow(double(found[i]) - text.expected[i], 2);
    }
    const double difference = std::sqrt(of_difference / squares);
    CHECK(difference <= bound);
    MESSAGE(fmt::format("{} layers, sum {}, slot {}: {:.2g}", readout.n_layers, readout.pooled == Pooled::sum,
                        text.slot, difference));
  };
  const std::span<const uint32_t> long_ids = texts[1].ids;
  input.add_chunk({2, texts[0].ids, texts[0].after});
  input.add_chunk({0, long_ids.first(4), texts[1].after});
  loaded.model.launch_pooled(input, readout);
  input.clear();
  input.add_chunk({1, texts[2].ids, texts[2].after});
  input.add_chunk({0, long_ids.subspan(4), kernels::kGoesOn});
  loaded.model.launch_pooled(input, readout);
  loaded.model.take_pooled(rows);
  check(texts[0]);
  loaded.model.take_pooled(rows);
  check(texts[1]);
  check(texts[2]);
}

void check_tier(Tier tier, double bound, bool lazy) {
  const auto device = open_device(tier);
  if (!device) return;
  rwkv7::ModelOptions options;
  options.lazy = lazy;
  GpuModel loaded(*device, demo_model(), options);
  const rwkv7::Reference reference(loaded.source);
  const uint32_t n_layer = reference.config().n_layer;
  // Fewer layers first: a lazy model then lacks those after them.
  check_readout(loaded, reference, {n_layer / 2, Pooled::sum, false}, bound);
  check_readout(loaded, reference, {n_layer, Pooled::last, true}, bound);
  if (lazy) return;
  check_readout(loaded, reference, {n_layer, Pooled::sum, true}, bound);
  check_readout(loaded, reference, {1, Pooled::last, false}, bound);
}

}  // namespace

TEST_SUITE("pooled") {
  TEST_CASE("one vector for each text on T0") { check_tier(Tier::t0, 1e-4, false); }
  TEST_CASE("one vector for each text on T1") { check_tier(Tier::t1, 5e-3, false); }
  TEST_CASE("one vector for each text, weights brought when they are needed") { check_tier(Tier::t1, 5e-3, true); }
}

TEST_SUITE("t2") {
  TEST_CASE("one vector for each text on T2") { check_tier(Tier::t2, 5e-3, false); }
}
