// tests/fuzz/read_model.cpp
#include "fuzz/read_model.hpp"

#include <vector>

#include "base/error.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::fuzz {
namespace {

void decode_first_row(const rwkv7::MatrixSource& matrix) {
  if (!matrix) return;
  std::vector<float> row(matrix.n_in);
  matrix.decode_rows(0, 1, row.data());
  matrix.decode_rows(matrix.n_out - 1, matrix.n_out, row.data());
}

void decode_some(const rwkv7::ModelSource& source) {
  decode_first_row(source.emb);
  decode_first_row(source.head);
  for (const rwkv7::LayerSource& layer : source.layers) {
    for (const rwkv7::LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
      decode_first_row(pair->down);
      decode_first_row(pair->up);
    }
    for (const rwkv7::MatrixSource* matrix :
         {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value}) {
      decode_first_row(*matrix);
    }
  }
}

}  // namespace

bool read_model(const MemoryFile& bytes) {
  try {
    const format::ModelFile file = format::ModelFile::open(bytes.path());
    decode_some(rwkv7::read_model_source(file));
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace ravenwing::fuzz
