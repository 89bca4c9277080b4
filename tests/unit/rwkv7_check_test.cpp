// tests/unit/rwkv7_check_test.cpp: finding weights that are no numbers.
#include "model/rwkv7_check.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;

namespace {

struct Found {
  std::vector<std::string> vectors, weights;
  uint64_t n_done = 0, n_total = 0;
};

Found check(const test::GgufWriter& writer) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "model", writer.bytes());
  const format::ModelFile file = format::ModelFile::open(folder / "model");
  const rwkv7::ModelSource source = rwkv7::read_model_source(file);
  Found found;
  found.vectors = rwkv7::nonfinite_vectors(source);
  found.weights = rwkv7::nonfinite_weights(source, [&](uint64_t done, uint64_t total) {
    CHECK(done >= found.n_done);
    found.n_done = done;
    found.n_total = total;
  });
  return found;
}

/// The last element of a tensor of f16 or f32.
void spoil(test::GgufWriter& writer, std::string_view name, const void* bits, size_t n_bytes) {
  std::vector<std::byte>& data = writer.tensor(name).data;
  std::memcpy(data.data() + data.size() - n_bytes, bits, n_bytes);
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("RELIABILITY 23: tensors with NaN or infinity are named, others are not") {
  test::RandomModelOptions options;
  options.matrices = format::WeightFormat::q8_0;
  test::GgufWriter writer = test::random_gguf(options);
  const Found good = check(writer);
  CHECK(good.vectors.empty());
  CHECK(good.weights.empty());
  CHECK(good.n_total > 50'000);
  CHECK(good.n_done == good.n_total);

  const uint16_t half_infinity = 0x7c00;
  const uint32_t nan = 0xffc00000, infinity = 0xff800000;
  spoil(writer, "output.weight", &half_infinity, 2);
  spoil(writer, "blk.1.time_mix_w2.weight", &half_infinity, 2);
  std::memcpy(writer.tensor("blk.0.channel_mix_key.weight").data.data(), &half_infinity, 2);  // a block's scale
  spoil(writer, "output_norm.bias", &nan, 4);
  spoil(writer, "blk.1.time_mix_w0.weight", &infinity, 4);
  const Found bad = check(writer);
  CHECK(bad.vectors == Names{"ln_out.bias", "layer 1: w0"});
  CHECK(bad.weights == Names{"ln_out.bias", "layer 1: w0", "output.weight", "blk.0.channel_mix_key.weight",
                             "blk.1.time_mix_w2.weight"});
  CHECK(bad.n_done <= bad.n_total);
}
