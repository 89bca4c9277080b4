// src/model/self_test.cpp: a text of a few steps, each of which takes another kernel for its matrix products.
#include "model/self_test.hpp"

#include <cmath>
#include <memory>
#include <numeric>

#include "kernels/sample_ref.hpp"
#include "kernels/time_mix_ref.hpp"
#include "model/rwkv7_forward.hpp"
#include "model/rwkv7_miniature.hpp"
#include "model/rwkv7_ref.hpp"

namespace ravenwing::rwkv7 {
namespace {

/// One column twice, so that a state is read that a step has written; a few columns; a tile of 32 and a part of one.
constexpr uint32_t kSteps[] = {1, 1, 4, 40};
/// As the runner's, so that many pipelines are the same.
constexpr uint32_t kTokensMax = 512;

/// What rounding may do; measured on lavapipe and on an H200 it does a tenth of this. Wrong kernels are off by whole
/// numbers.
struct Bounds {
  double logits;  // as they stand
  double states;  // root mean square of the difference over that of the state
};
constexpr Bounds bounds_of(gpu::Tier tier) { return tier == gpu::Tier::t0 ? Bounds{2e-3, 1e-3} : Bounds{0.1, 0.02}; }

/// The text, and what the CPU makes of it.
struct Expected {
  Expected(const ModelSource& source, StateStorage states) : state(source.config) {
    const Reference reference(source);
    for (const uint32_t n : kSteps) {
      for (uint32_t i = 0; i < n; ++i) ids.push_back(uint32_t(ids.size() * 97 % source.config.n_vocab));
      const std::vector<float> of_step = reference.forward(std::span(ids).last(n), state);
      logits.insert(logits.end(), of_step.begin(), of_step.end());
      if (states == StateStorage::f16) kernels::round_states_to_f16(state.wkv);
    }
  }

  std::vector<uint32_t> ids;
  RefState state;
  std::vector<float> logits;  // [ids, n_vocab]
};

/// Written so that NaN counts as wrong.
double worst_difference(std::span<const float> found, std::span<const float> expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(double(found[i]) - expected[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

double relative_difference(std::span<const float> found, std::span<const float> expected) {
  double difference = 0, all = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double(found[i]) - expected[i], 2);
    all += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / all);
}

/// Sampling with a filter.
SamplerParams sampler() { return {.temperature = 0.8f, .top_p = 0.7f, .seed = 1}; }

/// Whether a token may be drawn from these logits: its share of the distribution has the random number, or is so near
/// that rounding, of sums or of where top-p cuts, can have put it there.
bool may_be_drawn(uint32_t id, std::span<const float> logits, uint32_t position) {
  constexpr double kRounding = 0.02;
  if (id >= logits.size()) return false;
  const std::vector<double> probabilities = kernels::sample_distribution_ref(logits, sampler());
  const double before = std::accumulate(probabilities.begin(), probabilities.begin() + id, 0.0);
  const double number = kernels::random_numbers(sampler().seed, 0, position).token;
  return number > before - kRounding && number < before + probabilities[id] + kRounding;
}

std::string compare_states(Model& model, const Expected& expected, const Bounds& bounds) {
  const HostState found = model.states().read(0);
  const std::tuple<const char*, std::span<const float>, std::span<const float>> parts[] = {
      {"time shift", found.time_shift, expected.state.time_shift},
      {"wkv", found.wkv, expected.state.wkv},
      {"channel shift", found.channel_shift, expected.state.channel_shift}};
  for (const auto& [name, values, right] : parts) {
    const double difference = relative_difference(values, right);
    if (!(difference <= bounds.states))
      return fmt::format("{} states are off by {:.2g}, {} allowed", name, difference, bounds.states);
  }
  return {};
}

/// The inputs of all steps. Software takes seconds to compile the head's product for several rows: there only the last
/// token of a step has logits, and states tell of the others.
std::vector<kernels::StepInput> inputs_of(const Expected& expected, bool software) {
  std::vector<kernels::StepInput> inputs;
  for (uint32_t done = 0; const uint32_t n : kSteps) {
    kernels::StepInput& input = inputs.emplace_back(kTokensMax);
    input.add_chunk({0, std::span(expected.ids).subspan(done, n)});
    for (uint32_t i = software ? n - 1 : 0; i < n; ++i) input.add_output({i, 0, i + 1 == n});
    done += n;
  }
  return inputs;
}

std::string run_steps(Model& model, const std::vector<kernels::StepInput>& inputs, const Expected& expected,
                      const Bounds& bounds, const std::function<void()>& check_cancelled) {
  const uint32_t n_vocab = model.config().n_vocab;
  kernels::ControlBlock block = kernels::control_block(sampler());
  block.limit = uint32_t(std::size(kSteps)) + 1;
  model.states().write_control(0, block);
  for (uint32_t step = 0, done = 0; const kernels::StepInput& input : inputs) {
    check_cancelled();
    model.submit(input);
    const std::vector<float> logits = model.read_logits();
    done += input.n_tokens();
    const auto right_logits = std::span(expected.logits).first(done * n_vocab).last(logits.size());
    const double difference = worst_difference(logits, right_logits);
    if (!(difference <= bounds.logits)) {
      return fmt::format("logits of a step of {} tokens are off by {:.2g}, {} allowed", input.n_tokens(), difference,
                         bounds.logits);
    }
    const uint32_t drawn = model.read_sampled().back().id;
    if (!may_be_drawn(drawn, std::span(logits).last(n_vocab), step++))
      return fmt::format("token {} was drawn from logits that do not give it", drawn);
  }
  return compare_states(model, expected, bounds);
}

}  // namespace

std::string self_test(gpu::Device& device, const ModelSource& like, const SelfTestSubject& subject,
                      const std::function<void()>& check_cancelled) {
  const Miniature miniature(like);
  const Expected expected(miniature.source(), subject.states);
  const std::vector<kernels::StepInput> inputs = inputs_of(expected, device.info().software);
  // A large model's products take other tiles than a small one's: each is tried.
  std::vector<std::optional<kernels::MatMulTile>> tiles(1);
  if (device.tier() == gpu::Tier::t2 && subject.mode == kernels::MatMulMode::fast &&
      subject.token == kernels::TokenUse::none) {
    const std::vector<kernels::MatMulTile> all = kernels::tiles_of(device);
    tiles.assign(all.begin(), all.end());
  }
  std::vector<std::unique_ptr<Model>> models;
  for (const auto& tile : tiles) {
    const ModelOptions options{.n_slots = 1,
                               .states = subject.states,
                               .tokens_max = kTokensMax,
                               .mode = subject.mode,
                               .tile = tile,
                               .token = subject.token};
    models.push_back(std::make_unique<Model>(device, miniature.file(), miniature.source(), options));
    if (models.back()->token_use() != subject.token) return "the device or the model is not made for it";
    for (const kernels::StepInput& input : inputs) models.back()->prepare(input);
  }
  for (const auto& model : models) {
    if (std::string wrong = run_steps(*model, inputs, expected, bounds_of(device.tier()), check_cancelled);
        !wrong.empty())
      return wrong;
  }
  return {};
}

}  // namespace ravenwing::rwkv7
