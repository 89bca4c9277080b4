// A grouped matrix product as data, run in a scene and compared with matmul_ref.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/tuning.hpp"
#include "kernels/values.hpp"

namespace ravenwing::test {

struct SegmentCase {
  uint32_t n_rows = 1, n_in = 1;
  format::WeightFormat format = format::WeightFormat::f16;
  kernels::Activation activation = kernels::Activation::none;
};

struct MatMulCase {
  std::string why;
  std::vector<SegmentCase> segments;
  uint32_t n_columns = 1;
  bool output_f32 = false, accumulate = false, of_squares = false, over_outputs = false;
  kernels::MatMulMode mode = kernels::MatMulMode::fast;
  uint64_t binding_bytes_max = 0;
  float input_scale = 1;
  float weight_scale = 1;  // of blocks
  kernels::VecTeam vec_team = kernels::VecTeam::automatic;
  std::optional<kernels::MatMulTile> tile;  // of T2
  uint32_t n_parts = 0;                     // of T2, of products that are accumulated in f32; 0: one
  const kernels::Tuning* tuning = nullptr;
};

/// The scene of a case: every segment has its own input and output, at offsets of its own, with a column of canaries
/// after each; weights begin 16 bytes into their region, where no binding can.
class MatMulScene {
 public:
  /// Matrices, inputs and what is accumulated to follow from the seed.
  MatMulScene(Gpu& gpu, const MatMulCase& matmul_case, uint32_t seed = 1);

  void run();
  void check_against_oracle() const;

  size_t n_dispatches() const { return scene_.plan().dispatches().size(); }
  const gpu::Plan& plan() const { return scene_.plan(); }
  /// The results of one column of a segment.
  std::vector<float> column(size_t segment, uint32_t index) const;
  /// In the inputs of a segment; to be changed before run().
  void set_input(size_t segment, uint32_t column, std::span<const float> values);

 private:
  struct Segment {
    TestMatrix matrix;
    kernels::Activation activation;
    std::vector<float> input;  // [column, n_in], as the tier stores it
    uint64_t packed_offset;
    uint32_t input_offset, output_offset, output_stride;
  };

  void add_segment(const SegmentCase& segment);
  void add_regions();
  Expected expected() const;
  bool uses_tiles() const;
  bool sums_in_f16() const;
  std::vector<float> output() const { return case_.output_f32 ? scene_.floats(output_) : scene_.acts(output_); }

  Gpu& gpu_;
  MatMulCase case_;
  Scene scene_;
  std::mt19937 random_;
  std::vector<Segment> segments_;
  std::vector<std::byte> packed_;
  uint32_t input_size_ = 0, output_size_ = 0;  // elements
  std::vector<float> before_;                  // of the output
  Region weights_ = 0, input_ = 0, output_ = 0;
  gpu::Buffer parts_;
};

}  // namespace ravenwing::test
