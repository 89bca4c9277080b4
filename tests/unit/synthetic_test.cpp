// tests/unit/synthetic_test.cpp: random models are read like any other, and their weights have the size they should.
#include "ravenwing/synthetic.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "model/rwkv7_tensors.hpp"
#include "ravenwing/error.hpp"

using namespace ravenwing;

namespace {

/// Mean and deviation of a matrix's first rows.
std::pair<double, double> moments(const rwkv7::MatrixSource& matrix) {
  const uint32_t n_rows = 64;
  std::vector<float> values(size_t(n_rows) * matrix.n_in);
  matrix.decode_rows(0, n_rows, values.data());
  double sum = 0, squares = 0;
  for (const float value : values) {
    sum += value;
    squares += double(value) * value;
  }
  const double mean = sum / double(values.size());
  return {mean, std::sqrt(squares / double(values.size()) - mean * mean)};
}

}  // namespace

TEST_CASE("synthetic models have the shapes, the types and the deviations that they are asked for") {
  for (const char* quant : {"f16", "bf16", "q8_0", "q6_k", "q4_k_m", "q2_k", "q4_0", "iq4_nl"}) {
    CAPTURE(quant);
    const SyntheticModel model(std::string("0.1b:") + quant);
    const auto file = format::ModelFile::open(model.path());
    const rwkv7::ModelSource source = rwkv7::read_model_source(file);
    CHECK(source.config.n_layer == 12);
    CHECK(source.config.n_embd == 768);
    CHECK(source.config.n_ffn == 3072);
    CHECK(source.config.n_vocab == 65536);
    CHECK(source.config.rank_v == 32);
    CHECK(source.config.rank_g == 128);
    for (const rwkv7::MatrixSource* matrix :
         {&source.emb, &source.head, &source.layers[3].key, &source.layers[3].ffn_value}) {
      const auto [mean, deviation] = moments(*matrix);
      const double expected = 1 / std::sqrt(double(matrix->n_in));
      CHECK(std::abs(mean) < 0.05 * expected);
      CHECK(deviation == doctest::Approx(expected).epsilon(0.1));
    }
    const std::string head(format::info(source.head.tensor->format).name);
    CHECK(head == (std::string_view(quant) == "f16"    ? "F16"
                   : std::string_view(quant) == "bf16" ? "BF16"
                   : std::string_view(quant) == "q8_0" ? "Q8_0"
                                                       : "Q6_K"));
  }
}

TEST_CASE("specs that name nothing are refused with what there is, before anything is written") {
  for (const char* spec : {"", "2.9b", "3b:f16", "2.9b:q9", ":", "2.9b:q4_k_m:"}) {
    CAPTURE(spec);
    CHECK_THROWS_AS(SyntheticModel{spec}, Error);
    CHECK_THROWS_AS(write_synthetic_model(spec, "/no/such/folder/a.gguf"), Error);
  }
  CHECK_THROWS_WITH_AS(SyntheticModel{"3b:f16"},
                       "no synthetic shape '3b': there are 0.1b, 0.4b, 1.5b, 2.9b, 7.2b, 13.3b", Error);
  CHECK_THROWS_AS(write_synthetic_model("0.1b:q4_k_m", "/no/such/folder/a.gguf"), Error);
}

TEST_CASE("a synthetic model written to a file is the one in memory") {
  const auto path = std::filesystem::temp_directory_path() / ("ravenwing-synthetic-" + std::to_string(getpid()));
  write_synthetic_model("0.1b:q4_k_m", path);
  const SyntheticModel model("0.1b:q4_k_m");
  const auto bytes = [](const std::filesystem::path& from) {
    std::ifstream file(from, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const bool same = bytes(path) == bytes(model.path());
  CHECK(same);
  CHECK(format::ModelFile::open(path).file_bytes() > 100'000'000);
  std::filesystem::remove(path);
}
