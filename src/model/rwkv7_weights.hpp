// The weights of an RWKV-7 model in GPU memory: one copy, in few large buffers, quantised as in the file.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "gpu/shader.hpp"
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

/// What the low-rank matrices of each layer are kept as. Where the file has f32 this reads them, to see whether f16
/// holds them; any thread may do so.
std::vector<kernels::WeightFormat> low_rank_formats(const ModelSource& source);

struct WeightPlacement {
  uint64_t arena_bytes_max = 0;                         // of one buffer; 0: the device's limit
  std::vector<kernels::WeightFormat> low_rank_formats;  // by layer; empty: to be found
};

/// Called with bytes done and bytes in all; may throw Error{cancelled} to stop.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

/// Brings weights to the GPU section by section, in the order of use: the embedding, each layer, the head. The file is
/// read, not touched through a mapping, so that one that shrinks meanwhile gives Error{bad_file} and no signal.
class WeightLoader {
 public:
  /// Makes the arenas and fills `weights` with where everything will lie. All but the placement must outlive the
  /// loader.
  WeightLoader(gpu::PipelineCache& pipelines, const format::ModelFile& file, const ModelSource& source,
               const WeightPlacement& placement, Weights& weights);
  ~WeightLoader();

  size_t n_sections() const;
  bool is_loaded(size_t section) const;
  /// The sections below `end` are about to be loaded: progress is counted over those of them that are not yet there.
  void expect(size_t end, const Progress& progress);
  /// Sends a section on its way.
  void load(size_t section);
  /// Hands what was loaded to the GPU's queue: what is submitted afterwards finds it there.
  void hand_over();
  /// Waits until all that was loaded is on the GPU, and gives back what loading needed.
  void finish();

 private:
  class Uploader;
  std::unique_ptr<Uploader> uploader_;
};

}  // namespace ravenwing::rwkv7
