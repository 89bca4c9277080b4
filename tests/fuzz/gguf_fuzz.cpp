// tests/fuzz/gguf_fuzz.cpp: libFuzzer target of the GGUF reader and of the model's tensors behind it.
#include "fuzz/read_model.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Without the magic nothing but the magic would be tested.
  ravenwing::fuzz::read_model({"GGUF", {data, size}});
  return 0;
}
