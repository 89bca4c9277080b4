// What tuning holds for, where it is kept, and what there is to tune in a model.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kernels/tuning.hpp"
#include "model/rwkv7_tensors.hpp"
#include "model/tuning_file.hpp"

namespace ravenwing {

/// Of a device, its driver and tier, the shaders and whether WebGPU checks indices.
TuningFile tuning_file_of(const gpu::Device& device);

/// Of a file, what this device has; `n_refused` counts what it has not.
struct TunedChoices {
  kernels::Tuning kernels;
  size_t n_refused = 0;
};
TunedChoices choices_of(const TuningFile& file, const gpu::Device& device);

/// The chunk of a model's prefill, if the file has one that can be.
std::optional<uint32_t> tuned_chunk(const TuningFile& file, const rwkv7::Config& config);
std::string chunk_subject(const rwkv7::Config& config);

/// Matrices of one format that the forward pass multiplies by at once.
struct TunedProduct {
  struct Matrix {
    uint32_t n_rows, n_in;
    auto operator<=>(const Matrix&) const = default;
  };
  format::WeightFormat format{};
  std::vector<Matrix> matrices;
  bool output_f32 = false, accumulate = false, of_squares = false, over_outputs = false;
};

/// Something to time: a product of so many columns, or the recurrence.
struct TuningJob {
  std::string subject;
  std::variant<kernels::MatMulKey, kernels::TimeMixKey> key;
  TunedProduct product;  // of a MatMulKey
};

/// What a model takes, each once. `low_rank_formats`: of its layers (rwkv7_weights.hpp). `sizes`: of steps, powers of
/// two; none: all up to 512.
std::vector<TuningJob> tuning_jobs(const rwkv7::ModelSource& source,
                                   std::span<const format::WeightFormat> low_rank_formats,
                                   std::span<const uint32_t> sizes);

}  // namespace ravenwing
