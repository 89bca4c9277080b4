// What every fuzzer of model files does with its bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ravenwing::fuzz {

/// Opens a file of `prefix` and `bytes` as a model and decodes a row of each matrix. Returns whether it was accepted;
/// refusing it by an Error is as good. Anything else - another exception, a sanitizer's report - ends the program.
bool read_bytes(std::string_view prefix, std::span<const uint8_t> bytes);

}  // namespace ravenwing::fuzz
