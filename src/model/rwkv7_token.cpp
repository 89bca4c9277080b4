// src/model/rwkv7_token.cpp: the stages of one token for kernels/token.hpp.
#include "model/rwkv7_token.hpp"

namespace ravenwing::rwkv7 {
namespace {

using kernels::Activation;
using kernels::TokenInput;
using kernels::TokenOutput;
using kernels::TokenProduct;
using kernels::TokenStage;

/// As the token shift of the time mix has its x_m.
enum Mix : uint32_t { kMixR, kMixW, kMixK, kMixV, kMixA, kMixG };

bool is_whole(const Matrix& matrix) { return matrix.parts.size() == 1; }

bool is_whole(const LayerWeights& layer) {
  for (const Matrix* matrix :
       {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value}) {
    if (!is_whole(*matrix)) return false;
  }
  for (const LowRank* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
    if (pair->down.n_out > 0 && (!is_whole(pair->down) || !is_whole(pair->up))) return false;
  }
  return true;
}

class Stages {
 public:
  Stages(const Config& config, const Weights& weights, const StateArenas& states, const kernels::TokenLayout& layout)
      : config_(config), weights_(weights), states_(states), layout_(layout) {}

  std::vector<TokenStage> build() {
    for (uint32_t layer = 0; layer < config_.n_layer; ++layer) {
      time_mix(layer, weights_.layers[layer]);
      channel_mix(layer, weights_.layers[layer]);
    }
    TokenStage& head = add("head", TokenInput::normed, config_.n_embd);
    head.vectors = weights_.ln_out;
    head.products.push_back({weights_.head.parts[0], 0, TokenOutput::logits, 0});
    return std::move(stages_);
  }

 private:
  TokenStage& add(std::string label, TokenInput input, uint32_t n_in) {
    TokenStage& stage = stages_.emplace_back();
    stage.label = std::move(label);
    stage.input = input;
    stage.n_in = n_in;
    return stage;
  }

  void time_mix(uint32_t layer, const LayerWeights& weights) {
    const std::string name = fmt::format("L{:02}.time_mix", layer);
    TokenStage& products = add(name + ".r_k_v_low", TokenInput::normed, config_.n_embd);
    products.vectors = weights.time_shift;
    products.shift = states_.time_shift(layer);
    const uint32_t plane = config_.n_embd / 2;
    for (const auto& [matrix, mix, n] :
         {std::tuple{&weights.receptance, kMixR, 0u}, {&weights.key, kMixK, 1u}, {&weights.value, kMixV, 2u}})
      products.products.push_back({matrix->parts[0], mix, TokenOutput::act, layout_.r_k_v + n * plane});
    const std::tuple<const LowRank*, Mix, Activation> pairs[] = {{&weights.w, kMixW, Activation::tanh},
                                                                 {&weights.a, kMixA, Activation::none},
                                                                 {&weights.v, kMixV, Activation::none},
                                                                 {&weights.g, kMixG, Activation::sigmoid}};
    TokenStage mix;
    for (size_t i = 0; const auto& [pair, letter, activation] : pairs) {
      if (pair->down.n_out > 0) {
        products.products.push_back({pair->down.parts[0], letter, TokenOutput::act, layout_.lows[i], activation});
        mix.up[i] = pair->up.parts[0];
        mix.lows[i] = layout_.lows[i];
      }
      ++i;
    }
    mix.label = name;
    mix.input = TokenInput::time_mix;
    mix.vectors = weights.time_mix;
    mix.wkv = states_.wkv(layer);
    mix.first_layer = layer == 0;
    mix.kept_shift = states_.time_shift(layer);
    stages_.push_back(std::move(mix));
    TokenStage& output = add(name + ".output", TokenInput::plain, config_.n_embd);
    output.input_word = layout_.gated;
    output.products.push_back({weights.output.parts[0], 0, TokenOutput::residual, 0});
  }

  void channel_mix(uint32_t layer, const LayerWeights& weights) {
    const std::string name = fmt::format("L{:02}.channel_mix", layer);
    TokenStage& key = add(name + ".key", TokenInput::normed, config_.n_embd);
    key.vectors = weights.channel_shift;
    key.shift = states_.channel_shift(layer);
    key.products.push_back({weights.ffn_key.parts[0], 0, TokenOutput::act, layout_.hidden, Activation::squared_relu});
    TokenStage& value = add(name + ".value", TokenInput::plain, config_.n_ffn);
    value.input_word = layout_.hidden;
    value.kept_shift = states_.channel_shift(layer);
    value.products.push_back(
        {weights.ffn_value.parts[0], 0, TokenOutput::residual, 0, Activation::none, kernels::kSquareUnit});
  }

  const Config& config_;
  const Weights& weights_;
  const StateArenas& states_;
  const kernels::TokenLayout& layout_;
  std::vector<TokenStage> stages_;
};

}  // namespace

kernels::TokenLayout token_layout(const Config& config, uint32_t tokens_max) {
  return {uint64_t(tokens_max) * config.n_embd,
          config.n_embd,
          config.n_ffn,
          {config.rank_w, config.rank_a, config.rank_v, config.rank_g}};
}

std::optional<kernels::TokenModel> token_model(const Config& config, const Weights& weights, const StateArenas& states,
                                               const kernels::TokenLayout& layout) {
  for (const LayerWeights& layer : weights.layers) {
    if (!is_whole(layer)) return {};
  }
  if (!is_whole(weights.head)) return {};
  kernels::TokenModel model{config.n_embd,
                            config.n_ffn,
                            config.head_size,
                            config.layer_norm_epsilon,
                            kGroupNormEpsilon,
                            states.storage(),
                            {},
                            {},
                            {},
                            layout,
                            Stages(config, weights, states, layout).build()};
  return model;
}

}  // namespace ravenwing::rwkv7
