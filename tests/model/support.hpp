// What the model tests share: a device of each tier, a model on it, steps, golden data and differences.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/device.hpp"
#include "model/rwkv7_forward.hpp"
#include "model/rwkv7_ref.hpp"

namespace ravenwing::test {

using gpu::Tier;
using Ids = std::vector<uint32_t>;

/// What a tier may differ from the fp32 reference by: logits as they stand; states per layer and kind, the Frobenius
/// norm of the difference over that of the state.
struct Bounds {
  float logits;
  double states;
};
constexpr Bounds bounds_of(Tier tier) { return tier == Tier::t0 ? Bounds{2e-4f, 1e-4} : Bounds{0.02f, 5e-3}; }
/// What fast mode may differ from exact mode by.
inline constexpr Bounds kFastBounds = bounds_of(Tier::t1);

/// The device that RAVENWING_TEST_DEVICE names (as DeviceOptions::selector), at a tier. Null, said once, where there is
/// no adapter that reaches it; throws then if RAVENWING_REQUIRE_GPU is 1.
std::unique_ptr<gpu::Device> open_device(Tier tier, bool timestamps = false);

/// The demo model, which the repository carries; the trained tiny model as safetensors and as GGUF, which it does not.
std::filesystem::path demo_model();
std::optional<std::filesystem::path> tiny_safetensors();
std::optional<std::filesystem::path> tiny_gguf(std::string_view format);

/// A model file and the model made of it.
struct GpuModel {
  GpuModel(gpu::Device& device, const std::filesystem::path& path, const rwkv7::ModelOptions& options = {});

  format::ModelFile file;
  rwkv7::ModelSource source;
  rwkv7::Model model;
};

rwkv7::ModelOptions exact_options();

enum class Outputs { none, last, all };

/// One sequence's share of a step.
struct Part {
  uint32_t slot = 0;
  std::span<const uint32_t> ids;
  Outputs outputs = Outputs::last;
  bool sample = false;
};

void submit(rwkv7::Model& model, const std::vector<Part>& parts);
/// Logits of all outputs of a step, in the order of the parts.
std::vector<float> run(rwkv7::Model& model, const std::vector<Part>& parts);
/// Feeds `ids` to a slot in steps of the given lengths, which add up to ids.size(); logits after each token or after
/// the last.
std::vector<float> feed(rwkv7::Model& model, uint32_t slot, std::span<const uint32_t> ids,
                        const std::vector<size_t>& lengths, Outputs outputs = Outputs::last);
/// The same from the zero state, in as few steps as there can be.
std::vector<float> feed_new(rwkv7::Model& model, uint32_t slot, std::span<const uint32_t> ids,
                            Outputs outputs = Outputs::last);

/// The text of tests/data/golden/validation.txt, which the trained models never saw: 4 096 ids.
Ids validation_ids();
/// -ln p of ids 1, 2, ... each given all before it, in steps of at most `step` tokens.
std::vector<double> likelihoods(rwkv7::Model& model, std::span<const uint32_t> ids, size_t step);

/// The reference's logits after each token, its wkv states rounded as the storage has it after each step.
std::vector<float> expected_in_steps(const rwkv7::Reference& reference, std::span<const uint32_t> ids,
                                     const std::vector<size_t>& steps, StateStorage storage, rwkv7::RefState& state);

/// `n` ids below `n_vocab` that look like none in particular.
Ids some_ids(size_t n, uint32_t n_vocab, uint32_t seed = 1);

/// The largest difference; the values must be finite.
float max_difference(std::span<const float> found, std::span<const float> expected);
/// The largest of the relative differences (Bounds::states) over the layers of [n_layer, ...].
double layer_difference(std::span<const float> found, std::span<const float> expected, size_t n_layer);
/// The largest of layer_difference over the three kinds of state.
double state_difference(const rwkv7::HostState& found, const rwkv7::HostState& expected, size_t n_layer);
bool same_bits(std::span<const float> a, std::span<const float> b);
bool same_bits(const rwkv7::HostState& a, const rwkv7::HostState& b);

/// A prompt of tests/data/golden/prompts.json.
struct Prompt {
  std::string name;
  Ids ids;
  std::vector<std::pair<uint32_t, float>> top20;
  Ids greedy_ids;
  std::vector<float> greedy_margin;
};
std::vector<Prompt> golden_prompts();
/// Reference state after a prompt, where the golden data at hand has it: `shared` has more than the repository.
std::optional<rwkv7::HostState> golden_state(const std::string& prompt);
std::optional<std::vector<float>> golden_logits(const std::string& prompt);

}  // namespace ravenwing::test
