// What every fuzzer of model files does with its bytes.
#pragma once

#include "fuzz/memory_file.hpp"

namespace ravenwing::fuzz {

/// Opens a file as a model, as a user's, and decodes a row of each matrix. Returns whether it was accepted; refusing it
/// by an Error is as good. Anything else - another exception, a sanitizer's report - ends the program.
bool read_model(const MemoryFile& bytes);

}  // namespace ravenwing::fuzz
