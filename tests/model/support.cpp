// tests/model/support.cpp
#include "model/support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/bytes.hpp"
#include "base/resources.hpp"
#include "kernels/time_mix_ref.hpp"
#include "support/files.hpp"
#include "support/npy.hpp"
#include "support/shared_data.hpp"

namespace ravenwing::test {
namespace {

namespace fs = std::filesystem;

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && std::string_view(value) == "1";
}

/// A golden file, from the folder that the tests were told of or the one that has more.
std::optional<fs::path> golden_file(const std::string& name) {
  if (const fs::path here = golden_folder() / name; fs::exists(here)) return here;
  if (const auto shared = shared_data(); shared && fs::exists(*shared / "golden" / name))
    return *shared / "golden" / name;
  return std::nullopt;
}

void add_part(kernels::StepInput& input, const Part& part) {
  const uint32_t first = input.n_tokens();
  input.add_chunk({part.slot, part.ids});
  if (part.outputs == Outputs::none || part.ids.empty()) return;
  const uint32_t end = input.n_tokens();
  for (uint32_t token = part.outputs == Outputs::all ? first : end - 1; token < end; ++token) {
    input.add_output({token, part.slot, part.sample});
  }
}

double negative_log_likelihood(std::span<const float> logits, uint32_t id) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - largest);
  return std::log(sum) + largest - logits[id];
}

}  // namespace

std::unique_ptr<gpu::Device> open_device(Tier tier, bool timestamps) {
  const char* named = std::getenv("RAVENWING_TEST_DEVICE");
  try {
    if (tier == Tier::t2 && gpu::Device({.selector = named != nullptr ? named : ""}).best_tier() < Tier::t2) {
      REQUIRE_MESSAGE(!is_set("RAVENWING_REQUIRE_T2"), "the adapter has no subgroup matrices");
      std::printf("no subgroup matrices, tests of T2 are skipped\n");
      return nullptr;
    }
    gpu::DeviceOptions options{.selector = named != nullptr ? named : "", .tier = tier};
    options.timestamps = timestamps;
    options.validate = !is_set("RAVENWING_TEST_UNCHECKED");  // else as the released program opens them
    return std::make_unique<gpu::Device>(options);
  } catch (const Error& error) {
    if (is_set("RAVENWING_REQUIRE_GPU")) throw;
    static const bool said = std::printf("tests that need a GPU are skipped: %s\n", error.what()) > 0;
    (void)said;
    return nullptr;
  }
}

fs::path demo_model() {
  const auto staged = find_resource("models/demo/tiny-rwkv7-Q4_K_M.gguf");
  return staged ? *staged : fs::path(RAVENWING_SOURCE_DIR) / "models/demo/tiny-rwkv7-Q4_K_M.gguf";
}

std::optional<fs::path> tiny_safetensors() {
  const auto shared = shared_data();
  if (!shared) return std::nullopt;
  return *shared / "models/tiny/tiny-rwkv7.safetensors";
}

std::optional<fs::path> tiny_gguf(std::string_view format) {
  const auto shared = shared_data();
  if (!shared) return std::nullopt;
  const std::string name = fmt::format("tiny-rwkv7-{}.gguf", format);
  if (format != "F16") return *shared / "models/tiny" / name;
  const char* made = std::getenv("RAVENWING_TEST_DATA");  // by tools/setup_test_data.sh
  return (made != nullptr ? fs::path(made) : fs::path(RAVENWING_SOURCE_DIR) / "build/test-data") / name;
}

GpuModel::GpuModel(gpu::Device& device, const fs::path& path, const rwkv7::ModelOptions& options)
    : file(format::ModelFile::open(path)),
      source(rwkv7::read_model_source(file)),
      model(device, file, source, options) {}

rwkv7::ModelOptions exact_options() {
  rwkv7::ModelOptions options;
  options.mode = kernels::MatMulMode::exact;
  return options;
}

void submit(rwkv7::Model& model, const std::vector<Part>& parts) {
  kernels::StepInput input(model.tokens_max());
  for (const Part& part : parts) add_part(input, part);
  model.submit(input);
}

std::vector<float> run(rwkv7::Model& model, const std::vector<Part>& parts) {
  submit(model, parts);
  return model.read_logits();
}

std::vector<float> feed(rwkv7::Model& model, uint32_t slot, std::span<const uint32_t> ids,
                        const std::vector<size_t>& lengths, Outputs outputs) {
  std::vector<float> logits;
  size_t at = 0;
  for (const size_t length : lengths) {
    const bool wanted = outputs == Outputs::all || at + length == ids.size();
    const std::vector<float> found = run(model, {{slot, ids.subspan(at, length), wanted ? outputs : Outputs::none}});
    logits.insert(logits.end(), found.begin(), found.end());
    at += length;
  }
  REQUIRE(at == ids.size());
  return logits;
}

std::vector<float> feed_new(rwkv7::Model& model, uint32_t slot, std::span<const uint32_t> ids, Outputs outputs) {
  model.reset_slot(slot);
  const size_t step = outputs == Outputs::all ? model.outputs_max() : model.tokens_max();
  std::vector<size_t> lengths;
  for (size_t rest = ids.size(); rest > 0; rest -= lengths.back()) lengths.push_back(std::min(rest, step));
  return feed(model, slot, ids, lengths, outputs);
}

Ids validation_ids() {
  std::ifstream in(golden_folder() / "validation.ids.json");
  return nlohmann::json::parse(in);
}

std::vector<double> likelihoods(rwkv7::Model& model, std::span<const uint32_t> ids, size_t step) {
  model.reset_slot(0);
  const size_t n_vocab = model.config().n_vocab;
  std::vector<double> result;
  for (size_t at = 0; at + 1 < ids.size(); at += step) {
    const size_t n = std::min(step, ids.size() - 1 - at);
    const std::vector<float> logits = run(model, {{0, ids.subspan(at, n), Outputs::all}});
    REQUIRE(logits.size() == n * n_vocab);
    for (size_t i = 0; i < n; ++i) {
      result.push_back(negative_log_likelihood(std::span(logits).subspan(i * n_vocab, n_vocab), ids[at + i + 1]));
    }
  }
  return result;
}

std::vector<float> expected_in_steps(const rwkv7::Reference& reference, std::span<const uint32_t> ids,
                                     const std::vector<size_t>& steps, StateStorage storage, rwkv7::RefState& state) {
  std::vector<float> logits;
  size_t at = 0;
  for (const size_t n : steps) {
    const std::vector<float> of_step = reference.forward(ids.subspan(at, n), state);
    logits.insert(logits.end(), of_step.begin(), of_step.end());
    if (storage == StateStorage::f16) kernels::round_states_to_f16(state.wkv);
    at += n;
  }
  REQUIRE(at == ids.size());
  return logits;
}

Ids some_ids(size_t n, uint32_t n_vocab, uint32_t seed) {
  Ids ids(n);
  uint32_t state = seed;
  for (uint32_t& id : ids) {
    state = state * 1664525u + 1013904223u;  // Numerical Recipes
    id = (state >> 8) % n_vocab;
  }
  return ids;
}

float max_difference(std::span<const float> found, std::span<const float> expected) {
  REQUIRE(found.size() == expected.size());
  float largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!std::isfinite(found[i])) return INFINITY;
    largest = std::max(largest, std::abs(found[i] - expected[i]));
  }
  return largest;
}

double layer_difference(std::span<const float> found, std::span<const float> expected, size_t n_layer) {
  REQUIRE(found.size() == expected.size());
  const size_t n = found.size() / n_layer;
  double largest = 0;
  for (size_t layer = 0; layer < n_layer; ++layer) {
    double difference = 0, norm = 0;
    for (size_t i = layer * n; i < (layer + 1) * n; ++i) {
      difference += (double(found[i]) - expected[i]) * (double(found[i]) - expected[i]);
      norm += double(expected[i]) * expected[i];
    }
    if (!std::isfinite(difference)) return INFINITY;
    if (difference > 0) largest = std::max(largest, std::sqrt(difference / norm));
  }
  return largest;
}

double state_difference(const rwkv7::HostState& found, const rwkv7::HostState& expected, size_t n_layer) {
  return std::max({layer_difference(found.time_shift, expected.time_shift, n_layer),
                   layer_difference(found.wkv, expected.wkv, n_layer),
                   layer_difference(found.channel_shift, expected.channel_shift, n_layer)});
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

bool same_bits(const rwkv7::HostState& a, const rwkv7::HostState& b) {
  return same_bits(a.time_shift, b.time_shift) && same_bits(a.wkv, b.wkv) &&
         same_bits(a.channel_shift, b.channel_shift);
}

std::vector<Prompt> golden_prompts() {
  std::ifstream in(golden_folder() / "prompts.json");
  std::vector<Prompt> prompts;
  for (const nlohmann::json& item : nlohmann::json::parse(in)) {
    prompts.push_back({item["name"], item["ids"], item["top20"], item["greedy_ids"], item["greedy_margin"]});
  }
  REQUIRE(prompts.size() == 6);
  return prompts;
}

std::optional<rwkv7::HostState> golden_state(const std::string& prompt) {
  const auto wkv = golden_file(prompt + ".wkv.npy");
  const auto time_shift = golden_file(prompt + ".att_shift.npy");
  const auto channel_shift = golden_file(prompt + ".ffn_shift.npy");
  if (!wkv || !time_shift || !channel_shift) return std::nullopt;
  return rwkv7::HostState{read_npy(*time_shift).values, read_npy(*wkv).values, read_npy(*channel_shift).values};
}

std::optional<std::vector<float>> golden_logits(const std::string& prompt) {
  const auto file = golden_file(prompt + ".logits.npy");
  if (!file) return std::nullopt;
  return read_npy(*file).values;
}

}  // namespace ravenwing::test
