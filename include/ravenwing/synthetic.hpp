// Models of real shapes with random weights: as fast as trained ones, and made in seconds.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// The names of SHAPE, smallest first.
std::vector<std::string> synthetic_shapes();

/// A model file in memory, for measuring. Linux.
class SyntheticModel {
 public:
  /// `spec` is SHAPE:QUANT: 0.1b, 0.4b, 1.5b, 2.9b, 7.2b, 13.3b; f32, f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, q3_k_m,
  /// q2_k, q5_1, q5_0, q4_1, q4_0, iq4_nl, iq4_xs, which mix types as llama.cpp does. Equal specs give equal bytes.
  /// Throws Error{bad_request} with the names there are, Error{out_of_memory}.
  explicit SyntheticModel(std::string_view spec);
  ~SyntheticModel();
  SyntheticModel(const SyntheticModel&) = delete;
  SyntheticModel& operator=(const SyntheticModel&) = delete;

  /// What EngineOptions::model takes, as long as this lives.
  std::filesystem::path path() const;

 private:
  int descriptor_ = -1;
};

/// Writes the same to a file, whole or not at all. Throws Error{bad_request, bad_file}.
void write_synthetic_model(std::string_view spec, const std::filesystem::path& path);

}  // namespace ravenwing
#pragma GCC visibility pop
