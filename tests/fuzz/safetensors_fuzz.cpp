// tests/fuzz/safetensors_fuzz.cpp: libFuzzer target of the safetensors reader and of the model's tensors behind it.
#include <algorithm>
#include <cstring>
#include <string>

#include "fuzz/read_bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The first byte says how much of the input lies behind the header, so that its length is nearly always right.
  if (size == 0) return 0;
  const size_t n_data = std::min<size_t>(data[0], size - 1);
  const uint64_t n_header = size - 1 - n_data;
  std::string length(sizeof(n_header), '\0');
  std::memcpy(length.data(), &n_header, sizeof(n_header));
  ravenwing::fuzz::read_bytes(length, {data + 1, size - 1});
  return 0;
}
