// The weights of an RWKV-7 model in GPU memory: one copy, in few large buffers, quantised as in the file.
#pragma once

#include <functional>
#include <vector>

#include "kernels/weight_layout.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::rwkv7 {

/// A matrix whose rows may lie in several buffers, in order.
struct Matrix {
  uint32_t n_out = 0, n_in = 0;
  std::vector<kernels::MatrixView> parts;
};

struct LowRank {
  Matrix down, up;
};

struct LayerWeights {
  gpu::BufferView time_shift;     // ln1 weight, bias, x_r x_w x_k x_v x_a x_g: [8, n_embd]
  gpu::BufferView time_mix;       // w0 a0 v0 k_k k_a r_k ln_x weight, bias: [8, n_embd]
  gpu::BufferView channel_shift;  // ln2 weight, bias, x_k: [3, n_embd]
  Matrix receptance, key, value, output, ffn_key, ffn_value;
  LowRank w, a, v, g;  // of one format each layer; v empty in layer 0
};

struct Weights {
  Matrix emb, head;
  gpu::BufferView ln0, ln_out;  // weight, bias: [2, n_embd]
  std::vector<LayerWeights> layers;
  std::vector<gpu::Buffer> arenas;  // own the memory of all of the above
};

/// Called with bytes done and bytes in all; may throw Error{cancelled} to stop.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

/// Copies the model to the GPU. Arenas are at most `arena_bytes_max` (0: the device's limit). The file is read, not
/// touched through its mapping, so that one that shrinks meanwhile gives Error{bad_file} and no signal.
Weights upload_weights(gpu::Device& device, const format::ModelFile& file, const ModelSource& source,
                       uint64_t arena_bytes_max, const Progress& progress);

}  // namespace ravenwing::rwkv7
