// The GGUF container, versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md).
#pragma once

namespace ravenwing::format {

class ModelFile;

/// Fills metadata and tensors of a file whose mapping starts with the GGUF magic. Throws Error{bad_file, unsupported}.
void parse_gguf(ModelFile& file);

}  // namespace ravenwing::format
