// The safetensors container (github.com/huggingface/safetensors, README.md, "Format").
#pragma once

namespace ravenwing::format {

class ModelFile;

/// Fills metadata and tensors of a file that begins with the length of a JSON header. Throws
/// Error{bad_file, unsupported}.
void parse_safetensors(ModelFile& file);

}  // namespace ravenwing::format
