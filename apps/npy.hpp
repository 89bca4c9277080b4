// Arrays of float32 in NumPy's file format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "output_file.hpp"

namespace ravenwing::apps {

/// Writes an array piece by piece under a temporary name beside its own; only commit() makes it appear. Throws
/// Error{bad_file}.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, const std::vector<uint64_t>& shape);

  void write(std::span<const float> values);
  void commit() { file_.commit(); }

 private:
  OutputFile file_;
};

void write_npy(const std::filesystem::path& path, const std::vector<uint64_t>& shape, std::span<const float> values);

}  // namespace ravenwing::apps
