// What was measured to be fastest on a device, in place of the built-in choices.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/matmul.hpp"
#include "kernels/time_mix.hpp"

namespace ravenwing::kernels {

/// The kernels of products: few columns, many, many on subgroup matrices (T2).
enum class MatMulKernel : uint8_t { vec, mat, tile };

/// How a product is computed.
struct MatMulChoice {
  MatMulKernel kernel = MatMulKernel::mat;
  // Of matmul_vec: who sums a row, columns of a workgroup, quads of rows of it, its invocations (0: by the inputs).
  VecTeam team = VecTeam::automatic;
  uint32_t columns = 1, quads = 1, lanes = 0;
  MatMulTile tile = {};  // of matmul_tile
  bool operator==(const MatMulChoice&) const = default;
};

/// What a choice holds for: all rows of one format in a product, its longest inputs, a size class of columns.
struct MatMulKey {
  WeightFormat format{};
  uint32_t n_rows = 0, n_in = 0, n_columns = 0;
  auto operator<=>(const MatMulKey&) const = default;
};

struct TimeMixChoice {
  TimeMixForm form = TimeMixForm::blocks;
  uint32_t shares = 0;  // of the form `blocks`; else 0
  bool operator==(const TimeMixChoice&) const = default;
};

/// Size classes of texts and of the tokens of all of them.
struct TimeMixKey {
  uint32_t n_embd = 0, head_size = 0, n_chunks = 0, n_tokens = 0;
  auto operator<=>(const TimeMixKey&) const = default;
};

/// Powers of two: plans of more than 128 tokens, which are finer, share what was tuned for the next one.
uint32_t size_class(uint32_t n);

/// Choices for a device; what is absent is as without. Exact mode looks at none.
struct Tuning {
  std::map<MatMulKey, MatMulChoice> matmuls;
  std::map<TimeMixKey, TimeMixChoice> time_mixes;

  const MatMulChoice* find(const MatMul& product, WeightFormat format, uint32_t n_columns) const;
  const TimeMixChoice* find(const TimeMix& op, uint32_t n_chunks, uint32_t n_tokens) const;
};

/// All that a tuner may choose from on a device; no other choice is ever taken from a file.
std::vector<MatMulChoice> matmul_choices(const gpu::Device& device, uint32_t n_columns);
std::vector<TimeMixChoice> time_mix_choices(const gpu::Device& device, const TimeMixKey& key);

/// Of a product that the tuner has: one segment, or several of one format.
MatMulKey key_of(const MatMul& product, WeightFormat format, uint32_t n_columns);

/// Words without blanks: "product:Q4_K:2560x2560:32", "vec:workgroup:4:1:0", "mat", "tile:4/2/1/2/4/64",
/// "time_mix:2560/64:1x512", "blocks:4", "pairs".
std::string name(const MatMulKey& key);
std::string name(const TimeMixKey& key);
std::string name(const MatMulChoice& choice);
std::string name(const TimeMixChoice& choice);

/// Adds the choice of these names. False, and nothing, where they are not such names or no choice of this device.
bool add_named(Tuning& tuning, const gpu::Device& device, std::string_view key, std::string_view choice);

}  // namespace ravenwing::kernels
