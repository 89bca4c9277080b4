// Looks into the demo model: the length of the residual stream after each layer, and activation patching: which layer's
// memory of one text, as its gate lets it through, makes another text go on like the first.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include "ravenwing/engine.hpp"

using namespace ravenwing;

namespace {

double norm(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) squares += double(value) * value;
  return std::sqrt(squares);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return norm(difference);
}

}  // namespace

int main() {
  Engine engine({.model = demo_model_path()});
  const std::vector<uint32_t> clean = engine.tokenizer().encode("The king was very old");
  const std::vector<uint32_t> other = engine.tokenizer().encode("The girl was very old");
  // The logits after a text, whose last token alone passes the hook.
  const auto logits_of = [&](const std::vector<uint32_t>& ids, Hook hook = {}) {
    Session session = engine.new_session();
    session.feed({ids.data(), ids.size() - 1});
    if (hook.call) engine.set_hook(std::move(hook));
    std::vector<float> logits = session.logits({&ids.back(), 1});
    engine.clear_hook();
    return logits;
  };

  // Reads x after each layer at a text's last token, and keeps what each layer has from its memory there.
  const uint32_t n_layer = engine.model().n_layer;
  std::vector<std::vector<float>> remembered(n_layer);
  const auto look = [&](const HookCall& call) {
    if (call.point == HookPoint::gate)
      remembered[call.layer].assign(call.values.begin(), call.values.end());
    else
      std::printf("layer %u: |x| = %.2f\n", call.layer, norm(call.values));
  };
  const std::vector<float> goal = logits_of(clean, {look, {HookPoint::gate, HookPoint::out}, {}});

  // The other text, with what one layer has from its memory at the last token taken from the first.
  const std::vector<float> start = logits_of(other);
  std::printf("distance of the logits: %.2f\n", distance(start, goal));
  for (uint32_t layer = 0; layer < n_layer; ++layer) {
    const auto patch = [&](const HookCall& call) { std::ranges::copy(remembered[layer], call.values.begin()); };
    const std::vector<float> patched = logits_of(other, {patch, {HookPoint::gate}, {layer}});
    std::printf("gate of layer %u patched: %.2f\n", layer, distance(patched, goal));
  }
}
