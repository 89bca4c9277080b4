// tests/kernels/pack_test.cpp: rows of files against what the CPU makes of them, bit for bit.
#include "kernels/pack.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "base/half.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using format::WeightFormat;

namespace {

/// W^T of plain floats.
std::vector<std::byte> transposed(const test::TestMatrix& matrix) {
  const uint32_t size = format::info(matrix.format).block_bytes;
  std::vector<std::byte> result(matrix.rows.size());
  for (uint32_t row = 0; row < matrix.n_rows; ++row) {
    for (uint32_t k = 0; k < matrix.n_in; ++k)
      std::memcpy(&result[(size_t(k) * matrix.n_rows + row) * size],
                  &matrix.rows[(size_t(row) * matrix.n_in + k) * size], size);
  }
  return result;
}

/// A file's bytes, and how the rows of a matrix lie in them.
struct FileCase {
  bool transpose = false;
  uint32_t before = 0;  // bytes ahead of the first row
};

/// Packed on the GPU in two pieces, of which one ends before row `cut`; rows lie 16 bytes into what is bound.
std::vector<uint32_t> packed_by_gpu(test::Gpu& gpu, const test::TestMatrix& matrix, uint32_t cut, const FileCase& how) {
  const auto& info = format::info(matrix.format);
  const uint64_t row_bytes = uint64_t(matrix.n_in) / info.block_weights * info.block_bytes;
  std::vector<std::byte> file = how.transpose ? transposed(matrix) : matrix.rows;
  file.insert(file.begin(), how.before, std::byte(0xee));
  file.resize(round_up(file.size(), 16), std::byte(0xee));
  test::Scene scene(gpu, 1);
  const std::vector<uint32_t> ids = {0};
  scene.step().add_chunk({0, ids});
  const test::Region bytes = scene.input(file);
  const test::Region rows = scene.output(4 + matrix.packed.size() / 4);
  scene.run([&](const kernels::Context& context) {
    kernels::MatrixView to{matrix.format, matrix.n_rows, matrix.n_in, scene.view(rows)};
    to.rows.offset += 16;
    for (const auto& [begin, end] : {std::pair{0u, cut}, std::pair{cut, matrix.n_rows}}) {
      if (begin == end) continue;
      kernels::FileRows from{matrix.format, end - begin, matrix.n_in, scene.view(bytes)};
      from.first = how.before + begin * (how.transpose ? info.block_bytes : row_bytes);
      from.row_stride = how.transpose ? info.block_bytes : row_bytes;
      from.block_stride = how.transpose ? uint64_t(matrix.n_rows) * info.block_bytes : info.block_bytes;
      kernels::pack(context.recorder, from, to, begin);
    }
  });
  std::vector<uint32_t> words = scene.words(rows);
  CHECK(std::count(words.begin(), words.begin() + 4, test::kCanary) == 4);
  words.erase(words.begin(), words.begin() + 4);
  return words;
}

void check_pack(test::Gpu& gpu, const test::TestMatrix& matrix, uint32_t cut = 0, const FileCase& how = {}) {
  INFO(gpu.name(), ": ", format::info(matrix.format).name, ", [", matrix.n_rows, ", ", matrix.n_in, "] cut at row ",
       cut, how.transpose ? ", transposed" : "", ", ", how.before, " bytes into the file");
  // What stands in place of missing rows is not touched.
  std::vector<uint32_t> expected(matrix.packed.size() / 4, test::kCanary);
  kernels::pack_rows(matrix.format, matrix.n_rows, matrix.n_in, matrix.rows.data(),
                     std::as_writable_bytes(std::span(expected)).data());
  CHECK(packed_by_gpu(gpu, matrix, cut, how) == expected);
}

/// Rows of `matrix` in another format; they lie 16 bytes into what is bound.
std::vector<uint32_t> converted(test::Gpu& gpu, const test::TestMatrix& matrix, WeightFormat format) {
  test::Scene scene(gpu, 1);
  const std::vector<uint32_t> ids = {0};
  scene.step().add_chunk({0, ids});
  std::vector<std::byte> packed(16, std::byte(0xff));
  packed.insert(packed.end(), matrix.packed.begin(), matrix.packed.end());
  const test::Region weights = scene.input(packed);
  const test::Region rows = scene.output(4 + matrix.n_rows * kernels::row_bytes(format, matrix.n_in) / 4);
  scene.run([&](const kernels::Context& context) {
    kernels::MatrixView to{format, matrix.n_rows, matrix.n_in, scene.view(rows)};
    to.rows.offset += 16;
    kernels::convert(context.recorder, matrix.view(scene, weights, 16), to, 0);
  });
  std::vector<uint32_t> words = scene.words(rows);
  words.erase(words.begin(), words.begin() + 4);
  return words;
}

/// Bits of the weights of `matrix` as f32 or f16, padded; decoded on the CPU.
std::vector<uint32_t> expected_bits(const test::TestMatrix& matrix, WeightFormat format) {
  const auto& info = format::info(matrix.format);
  const size_t file_row_bytes = size_t(matrix.n_in) / info.block_weights * info.block_bytes;
  const uint32_t row_bytes = kernels::row_bytes(format, matrix.n_in);
  std::vector<uint32_t> words(size_t(matrix.n_rows) * row_bytes / 4);
  std::vector<float> values(matrix.n_in);
  for (uint32_t row = 0; row < matrix.n_rows; ++row) {
    format::dequantize(matrix.format, &matrix.rows[row * file_row_bytes], values);
    for (uint32_t k = 0; k < matrix.n_in; ++k) {
      uint32_t& word = words[row * row_bytes / 4 + (format == WeightFormat::f32 ? k : k / 2)];
      if (format == WeightFormat::f32)
        word = std::bit_cast<uint32_t>(values[k]);
      else
        word |= uint32_t(f32_to_f16(values[k])) << (16 * (k % 2));
    }
  }
  return words;
}

/// The largest difference of two f16 in the units of their last places, over all of two words' lists.
int64_t distance(std::span<const uint32_t> a, std::span<const uint32_t> b) {
  const auto place = [](uint32_t half) { return half < 0x8000 ? int64_t(half) : -int64_t(half & 0x7fff); };
  int64_t worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (const uint32_t shift : {0u, 16u})
      worst = std::max(worst, std::abs(place(a[i] >> shift & 0xffff) - place(b[i] >> shift & 0xffff)));
  }
  return worst;
}

/// f32 around every edge of f16: ties, the least and the greatest of each kind, infinity, NaN; of both signs.
test::TestMatrix edges() {
  std::vector<float> values;
  for (const float value :
       {0.0f, 0x1p-25f, 0x1.000002p-25f, 0x1p-24f, 0x1.8p-24f, 0x1.4p-23f, 0x1.ffcp-15f, 0x1.ffep-15f, 0x1p-14f, 1.0f,
        0x1.002p0f, 0x1.006p0f, 65504.0f, 65519.0f, 65520.0f, 1e30f, 1e-30f, INFINITY, NAN}) {
    values.push_back(value);
    values.push_back(-value);
  }
  std::mt19937 random(5);
  for (uint32_t i = 0; values.size() < 400; ++i) {
    const uint32_t exponent = 90 + i % 60;
    values.push_back(std::bit_cast<float>((uint32_t(random()) & 0x807fffffu) | exponent << 23));
  }
  std::vector<std::byte> rows(values.size() * 4);
  std::memcpy(rows.data(), values.data(), rows.size());
  return test::packed_matrix(WeightFormat::f32, 4, 100, std::move(rows));
}

}  // namespace

TEST_SUITE_BEGIN("pack");

TEST_CASE("rows of every format are packed as the CPU packs them") {
  std::mt19937 random(1);
  for (const auto& gpu : test::gpus()) {
    for (const WeightFormat format : format::kWeightFormats) {
      const uint32_t block_weights = format::info(format).block_weights;
      for (const uint32_t n_blocks : {1u, 3u, 10u}) {
        const test::TestMatrix matrix = test::random_matrix(format, 5, n_blocks * block_weights, random);
        check_pack(*gpu, matrix);
        check_pack(*gpu, matrix, 3);
      }
    }
    // More workgroups than one dimension of a grid has.
    check_pack(*gpu, test::random_matrix(WeightFormat::q8_0, 1300, 4096, random));
  }
}

TEST_CASE("pieces of rows that lie together may begin and end anywhere") {
  std::mt19937 random(4);
  for (const auto& gpu : test::gpus()) {
    for (const WeightFormat format : {WeightFormat::q4_k, WeightFormat::q5_k}) {
      const test::TestMatrix matrix = test::random_matrix(format, 21, 768, random);
      for (const uint32_t cut : {1u, 8u, 11u, 17u}) check_pack(*gpu, matrix, cut);
      // Where a piece does not begin on 16 bytes, words are put together from bytes.
      check_pack(*gpu, matrix, 11, {.before = 6});
    }
  }
}

TEST_CASE("transposed floats are put in order") {
  std::mt19937 random(2);
  for (const auto& gpu : test::gpus()) {
    for (const WeightFormat format : {WeightFormat::f32, WeightFormat::f16, WeightFormat::bf16}) {
      for (const uint32_t n_in : {1u, 8u, 65u}) {
        const test::TestMatrix matrix = test::random_matrix(format, 7, n_in, random);
        check_pack(*gpu, matrix, 0, {.transpose = true});
        check_pack(*gpu, matrix, 4, {.transpose = true});
      }
    }
  }
}

TEST_CASE("floats become f16 as the CPU rounds them, or f32") {
  std::mt19937 random(3);
  for (const auto& gpu : test::gpus()) {
    CHECK(converted(*gpu, edges(), WeightFormat::f16) == expected_bits(edges(), WeightFormat::f16));
    const test::TestMatrix floats = test::random_matrix(WeightFormat::f32, 5, 13, random);
    CHECK(converted(*gpu, floats, WeightFormat::f16) == expected_bits(floats, WeightFormat::f16));
    const test::TestMatrix bf16 = test::random_matrix(WeightFormat::bf16, 5, 13, random);
    CHECK(converted(*gpu, bf16, WeightFormat::f32) == expected_bits(bf16, WeightFormat::f32));
    const test::TestMatrix blocks = test::random_matrix(WeightFormat::q6_k, 3, 512, random);
    CHECK(distance(converted(*gpu, blocks, WeightFormat::f16), expected_bits(blocks, WeightFormat::f16)) <= 1);
    const test::TestMatrix together = test::random_matrix(WeightFormat::q4_k, 11, 512, random);
    CHECK(distance(converted(*gpu, together, WeightFormat::f16), expected_bits(together, WeightFormat::f16)) <= 1);
  }
}

TEST_SUITE_END();
