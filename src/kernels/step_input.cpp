// src/kernels/step_input.cpp: filling a step's input.
#include "kernels/step_input.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace ravenwing::kernels {
namespace {
constexpr size_t kHeaderWords = 8;
}

ControlBlock control_block(const SamplerParams& params) {
  ControlBlock block;
  block.seed[0] = uint32_t(params.seed);
  block.seed[1] = uint32_t(params.seed >> 32);
  block.temperature = params.temperature;
  block.top_k = params.top_k;
  block.top_p = params.top_p;
  block.order = uint32_t(params.order);
  block.min_p = params.min_p;
  block.typical_p = params.typical_p;
  block.xtc_probability = params.xtc_probability;
  block.xtc_threshold = params.xtc_threshold;
  block.mirostat_tau = params.mirostat_tau;
  block.mirostat_eta = params.mirostat_eta;
  block.presence_penalty = params.presence_penalty;
  block.frequency_penalty = params.frequency_penalty;
  block.repetition_penalty = params.repetition_penalty;
  block.penalty_decay = params.penalty_decay;
  return block;
}

StepInput::StepInput(uint32_t tokens_max) : tokens_max_(tokens_max), words_(bytes(tokens_max) / 4) {}

void StepInput::clear() { std::fill_n(words_.begin(), kHeaderWords, 0); }

void StepInput::add_chunk(const StepChunk& chunk) {
  RAVENWING_CHECK(n_tokens() + chunk.ids.size() <= tokens_max_ && n_chunks() < tokens_max_);
  uint32_t* chunk_words = &words_[kHeaderWords + 2 * size_t(tokens_max_) + 4 * size_t(n_chunks())];
  chunk_words[0] = chunk.slot;
  chunk_words[1] = n_tokens();
  chunk_words[2] = uint32_t(chunk.ids.size());
  chunk_words[3] = chunk.after;
  std::copy(chunk.ids.begin(), chunk.ids.end(), &words_[kHeaderWords + n_tokens()]);
  std::fill_n(&words_[kHeaderWords + tokens_max_ + n_tokens()], chunk.ids.size(), n_chunks());
  words_[0] += uint32_t(chunk.ids.size());
  words_[1] += 1;
}

StepInput::ChunkTokens StepInput::chunk(uint32_t index) const {
  RAVENWING_CHECK(index < n_chunks());
  const uint32_t* chunk_words = &words_[kHeaderWords + 2 * size_t(tokens_max_) + 4 * size_t(index)];
  return {chunk_words[0], chunk_words[1], chunk_words[2]};
}

void StepInput::add_output(const StepOutput& output) {
  RAVENWING_CHECK(output.token < n_tokens() && n_outputs() < tokens_max_);
  uint32_t* output_words = &words_[kHeaderWords + 6 * size_t(tokens_max_) + 4 * size_t(n_outputs())];
  output_words[0] = output.token;
  output_words[1] = output.slot;
  output_words[2] = output.sample;
  words_[2] += 1;
}

}  // namespace ravenwing::kernels
