// src/kernels/step.cpp: filling a step's input.
#include "kernels/step.hpp"

#include <algorithm>

namespace ravenwing::kernels {
namespace {
constexpr size_t kHeaderWords = 8;
}

StepInput::StepInput(uint32_t tokens_max) : tokens_max_(tokens_max), words_(bytes(tokens_max) / 4) {}

void StepInput::clear() { std::fill_n(words_.begin(), kHeaderWords, 0); }

void StepInput::add_chunk(const StepChunk& chunk) {
  RAVENWING_CHECK(n_tokens() + chunk.ids.size() <= tokens_max_ && n_chunks() < tokens_max_);
  uint32_t* chunk_words = &words_[kHeaderWords + 2 * size_t(tokens_max_) + 4 * size_t(n_chunks())];
  chunk_words[0] = chunk.slot;
  chunk_words[1] = n_tokens();
  chunk_words[2] = uint32_t(chunk.ids.size());
  std::copy(chunk.ids.begin(), chunk.ids.end(), &words_[kHeaderWords + n_tokens()]);
  std::fill_n(&words_[kHeaderWords + tokens_max_ + n_tokens()], chunk.ids.size(), n_chunks());
  words_[0] += uint32_t(chunk.ids.size());
  words_[1] += 1;
}

void StepInput::add_output(const StepOutput& output) {
  RAVENWING_CHECK(output.token < n_tokens() && n_outputs() < tokens_max_);
  uint32_t* output_words = &words_[kHeaderWords + 6 * size_t(tokens_max_) + 4 * size_t(n_outputs())];
  output_words[0] = output.token;
  output_words[1] = output.slot;
  output_words[2] = output.sample;
  words_[2] += 1;
}

gpu::ShaderVariant Context::variant(std::string_view shader) const {
  gpu::ShaderVariant variant;
  variant.shader = shader;
  variant.modules = {{"act", tier() == gpu::Tier::t0 ? "act_f32" : "act_f16"}};
  variant.constants = {{"TOKENS_MAX", buffers.tokens_max}};
  return variant;
}

gpu::ShaderVariant Context::reducing_variant(std::string_view shader, uint32_t workgroup_size) const {
  gpu::ShaderVariant result = variant(shader);
  result.modules.emplace_back("reduce", tier() == gpu::Tier::t0 ? "reduce_workgroup" : "reduce_subgroup");
  result.constants.emplace_back("WORKGROUP_SIZE", workgroup_size);
  return result;
}

}  // namespace ravenwing::kernels
