// The storage types of weights: names, block sizes, and dequantisation on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ravenwing::format {

/// A storage type of weights that every part of the engine can read.
enum class WeightFormat : uint8_t {
  f32,
  f16,
  bf16,
  q8_0,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs
};

/// All of them, in that order.
inline constexpr WeightFormat kWeightFormats[] = {
    WeightFormat::f32,  WeightFormat::f16,  WeightFormat::bf16, WeightFormat::q8_0,   WeightFormat::q4_0,
    WeightFormat::q4_1, WeightFormat::q5_0, WeightFormat::q5_1, WeightFormat::q2_k,   WeightFormat::q3_k,
    WeightFormat::q4_k, WeightFormat::q5_k, WeightFormat::q6_k, WeightFormat::iq4_nl, WeightFormat::iq4_xs};

struct WeightFormatInfo {
  std::string_view name;   // as in GGUF: F32, Q4_K, ...
  uint32_t block_weights;  // weights per block; 1 for plain floats
  uint32_t block_bytes;    // bytes per block in the file
};

const WeightFormatInfo& info(WeightFormat format);

/// The format of a ggml type number, or nothing where the engine has none.
std::optional<WeightFormat> from_ggml_type(uint32_t ggml_type);

/// ggml's name of a type number, known to the engine or not ("IQ2_XXS"); "unknown" for numbers ggml does not have.
std::string_view ggml_type_name(uint32_t ggml_type);

/// Decodes whole blocks to float, bit for bit as ggml's to_float does. out.size() must be a multiple of block_weights
/// and `blocks` must hold out.size() / block_weights blocks; any alignment.
void dequantize(WeightFormat format, const std::byte* blocks, std::span<float> out);

}  // namespace ravenwing::format
