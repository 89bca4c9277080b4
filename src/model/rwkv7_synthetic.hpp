// Random models of any shape and mixture of weight formats.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/weight_format.hpp"

namespace ravenwing::rwkv7 {

/// Formats of a layer's matrices.
struct LayerFormats {
  format::WeightFormat receptance{}, key{}, value{}, output{}, ffn_key{}, ffn_value{};
  format::WeightFormat w{}, a{}, v{}, g{};  // of both matrices of a low-rank pair
  bool operator==(const LayerFormats&) const = default;
};
inline constexpr format::WeightFormat LayerFormats::*kLargeMatrices[] = {
    &LayerFormats::receptance, &LayerFormats::key,     &LayerFormats::value,
    &LayerFormats::output,     &LayerFormats::ffn_key, &LayerFormats::ffn_value};
inline constexpr format::WeightFormat LayerFormats::*kLowRankPairs[] = {&LayerFormats::w, &LayerFormats::a,
                                                                        &LayerFormats::v, &LayerFormats::g};

/// The head size is 64.
struct SyntheticSpec {
  std::string name;
  uint32_t n_layer = 0, n_embd = 0, n_ffn = 0, n_vocab = 0;
  uint32_t rank_w = 0, rank_a = 0, rank_v = 0, rank_g = 0;
  format::WeightFormat emb{}, head{};
  std::vector<LayerFormats> layers;  // by turns
};

/// Of SHAPE:QUANT (ravenwing/synthetic.hpp). Throws Error{bad_request} with the names there are.
SyntheticSpec synthetic_spec(std::string_view text);

/// The descriptor of a GGUF file in memory, which the caller closes. Equal specs give equal bytes. Throws
/// Error{out_of_memory}.
int make_synthetic_file(const SyntheticSpec& spec);

}  // namespace ravenwing::rwkv7
