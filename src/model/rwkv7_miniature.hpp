// A small model that runs the kernels of a large one: what a self-test computes.
#pragma once

#include <string>

#include "model/rwkv7_synthetic.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::rwkv7 {

/// Random weights in the formats of another model: a layer for each combination of formats that the layers of `like`
/// have, but for those beyond six. In memory.
class Miniature {
 public:
  explicit Miniature(const ModelSource& like);

  const format::ModelFile& file() const { return file_; }
  const ModelSource& source() const { return source_; }

 private:
  struct Descriptor {
    int number;
    ~Descriptor();
  };
  Descriptor descriptor_;
  format::ModelFile file_;
  ModelSource source_;
};

/// The formats that a miniature has, as text: "Q4_K Q6_K, ...". Models that share it have the same miniature.
std::string miniature_formats(const ModelSource& like);

}  // namespace ravenwing::rwkv7
