// tests/unit/weight_format_test.cpp: decoding against what ggml itself made of the same bytes
// (tests/data/golden/dequant).
#include "format/weight_format.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.hpp"
#include "support/files.hpp"

using namespace ravenwing;
using format::WeightFormat;

namespace {

std::vector<float> read_floats(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = test::read_file(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace

TEST_CASE("every format decodes bit for bit as ggml does") {
  const std::filesystem::path folder = test::golden_folder() / "dequant";
  for (const WeightFormat format : format::kWeightFormats) {
    const std::string name(info(format).name);
    CAPTURE(name);
    // F32 needs no decoding: its blocks are the source itself.
    const bool plain = format == WeightFormat::f32;
    const std::vector<std::byte> blocks = test::read_file(folder / (plain ? "source.f32" : name + ".bin"));
    const std::vector<float> expected = read_floats(folder / (plain ? "source.f32" : name + ".f32"));
    REQUIRE(expected.size() == 16 * 512);
    REQUIRE(blocks.size() == expected.size() / info(format).block_weights * info(format).block_bytes);
    std::vector<float> decoded(expected.size(), std::nanf(""));
    dequantize(format, blocks.data(), decoded);
    CHECK(std::memcmp(decoded.data(), expected.data(), expected.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("blocks may lie at any address") {
  const std::vector<std::byte> blocks = test::read_file(test::golden_folder() / "dequant" / "Q6_K.bin");
  std::vector<std::byte> shifted(blocks.size() + 1);
  std::memcpy(shifted.data() + 1, blocks.data(), blocks.size());
  std::vector<float> aligned(256), unaligned(256);
  dequantize(WeightFormat::q6_k, blocks.data(), aligned);
  dequantize(WeightFormat::q6_k, shifted.data() + 1, unaligned);
  CHECK(aligned == unaligned);
}

TEST_CASE("ggml type numbers map to formats and names") {
  CHECK(format::from_ggml_type(0) == WeightFormat::f32);
  CHECK(format::from_ggml_type(1) == WeightFormat::f16);
  CHECK(format::from_ggml_type(8) == WeightFormat::q8_0);
  CHECK(format::from_ggml_type(12) == WeightFormat::q4_k);
  CHECK(format::from_ggml_type(14) == WeightFormat::q6_k);
  CHECK(format::from_ggml_type(23) == WeightFormat::iq4_xs);
  CHECK(format::from_ggml_type(30) == WeightFormat::bf16);
  for (const uint32_t other : {4u, 5u, 9u, 15u, 16u, 24u, 34u, 39u, 41u, 200u, 0xffffffffu}) {
    CAPTURE(other);
    CHECK_FALSE(format::from_ggml_type(other).has_value());
  }
  CHECK(format::ggml_type_name(16) == "IQ2_XXS");
  CHECK(format::ggml_type_name(13) == "Q5_K");
  CHECK(format::ggml_type_name(39) == "MXFP4");
  CHECK(format::ggml_type_name(200) == "unknown");
}

TEST_CASE("halves survive the way to float and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = uint16_t(bits);
    const bool is_nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
    if (is_nan) {
      CHECK(std::isnan(f16_to_f32(half)));
    } else if (f32_to_f16(f16_to_f32(half)) != half) {
      FAIL("f16 ", bits);
    }
    const bool is_bf16_nan = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0;
    if (!is_bf16_nan && f32_to_bf16(bf16_to_f32(half)) != half) FAIL("bf16 ", bits);
  }
}

TEST_CASE("floats round to the nearest half, ties to even") {
  CHECK(f32_to_f16(1.0f + 0x1p-11f) == 0x3c00);             // tie, even below
  CHECK(f32_to_f16(1.0f + 3 * 0x1p-11f) == 0x3c02);         // tie, even above
  CHECK(f32_to_f16(1.0f + 0x1p-11f + 0x1p-20f) == 0x3c01);  // just above the tie
  CHECK(f32_to_f16(65519.0f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(0x1p-25f) == 0);  // tie with the smallest subnormal
  CHECK(f32_to_f16(0x1.8p-25f) == 1);
  CHECK(f32_to_bf16(1.0f + 0x1p-8f) == 0x3f80);
  CHECK(f32_to_bf16(1.0f + 3 * 0x1p-8f) == 0x3f82);
}
