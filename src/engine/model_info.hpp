// What a model file says of itself, for an engine that has it open.
#pragma once

#include "format/model_file.hpp"
#include "model/rwkv7_tensors.hpp"
#include "ravenwing/model_info.hpp"

namespace ravenwing {

ModelInfo info_of(const format::ModelFile& file, const rwkv7::ModelSource& source);

/// model_tokenizer() of an open file.
Tokenizer tokenizer_of(const format::ModelFile& file, const std::filesystem::path& vocab);

}  // namespace ravenwing
