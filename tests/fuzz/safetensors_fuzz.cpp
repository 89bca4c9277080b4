// tests/fuzz/safetensors_fuzz.cpp: libFuzzer target of the safetensors reader and of the model's tensors behind it.
#include "fuzz/read_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ravenwing::fuzz::read_model(ravenwing::fuzz::safetensors_file({data, size}));
  return 0;
}
