// NumPy's .npy files of float32, as the golden data has them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace ravenwing::test {

struct Array {
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

/// Reads a little-endian float32 array in C order (format version 1 to 3); throws std::runtime_error for any other.
Array read_npy(const std::filesystem::path& path);
void write_npy(const std::filesystem::path& path, const Array& array);

}  // namespace ravenwing::test
