// Embedding lookup and its layer norm.
#pragma once

#include "kernels/step.hpp"
#include "kernels/weight_layout.hpp"

namespace ravenwing::kernels {

/// x[t] = layer_norm(emb[id of t]; vectors) for the tokens whose row lies in `part`, the rows from row_begin on; bound
/// in windows of at most binding_bytes_max (0: the device's limit). Ids of n_vocab and more are taken as the last one.
///   part [n_rows, n_embd];  vectors [2, n_embd] f32: ln0's weight and bias;  x [token, n_embd] f32
void embed(const Context& context, const MatrixView& part, uint32_t row_begin, uint32_t n_vocab, float epsilon,
           const gpu::BufferView& vectors, const gpu::BufferView& x, uint64_t binding_bytes_max = 0);

}  // namespace ravenwing::kernels
