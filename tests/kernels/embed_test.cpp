// tests/kernels/embed_test.cpp
#include "kernels/embed.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/embed_ref.hpp"
#include "kernels/values.hpp"

using namespace ravenwing;
using format::WeightFormat;

namespace {

constexpr uint32_t kTokensMax = 600;
constexpr float kEpsilon = 1e-5f;

struct Case {
  std::string why;
  WeightFormat format = WeightFormat::f16;
  uint32_t n_vocab = 1, n_embd = 1;
  std::vector<uint32_t> ids;
  std::vector<uint32_t> part_rows = {};  // the table lies in parts of so many rows; empty: in one
  uint64_t binding_bytes_max = 0;
  uint32_t next_token = kernels::kNoToken;  // of the chunk's slot
  uint32_t row_begin = 0;                   // the first row of the first part; tokens of rows in no part stay unwritten
};

void check_case(test::Gpu& gpu, const Case& embed) {
  INFO(gpu.name(), ": ", embed.why, ", ", format::info(embed.format).name, ", n_embd ", embed.n_embd);
  std::mt19937 random(embed.n_embd);
  const test::TestMatrix table = test::random_matrix(embed.format, embed.n_vocab, embed.n_embd, random);
  const std::vector<float> vectors = test::random_values(random, 2 * size_t(embed.n_embd), 2);
  test::Scene scene(gpu, kTokensMax);
  scene.control.resize(300);
  scene.control[299].next_token = embed.next_token;
  const std::vector<uint32_t> other = {0};
  scene.step().add_chunk({0, other});
  scene.step().add_chunk({299, embed.ids});
  std::vector<std::byte> packed(16, std::byte(0xff));  // so that no window begins where a binding can
  packed.insert(packed.end(), table.packed.begin(), table.packed.end());
  const test::Region weights = scene.input(packed), vectors_region = scene.input(vectors);
  const size_t n_tokens = embed.ids.size() + 1;
  const test::Region x = scene.output((n_tokens + 1) * embed.n_embd);
  const std::vector<uint32_t> parts = embed.part_rows.empty() ? std::vector{embed.n_vocab} : embed.part_rows;
  scene.run([&](const kernels::Context& context) {
    for (uint32_t row = embed.row_begin; const uint32_t n_rows : parts) {
      kernels::MatrixView part =
          table.view(scene, weights, 16 + uint64_t(row) * kernels::row_bytes(embed.format, embed.n_embd));
      part.n_rows = n_rows;
      kernels::embed(context, part, row, embed.n_vocab, kEpsilon, scene.view(vectors_region), scene.view(x),
                     embed.binding_bytes_max);
      row += n_rows;
    }
  });

  const kernels::EmbedTable reference{embed.format, embed.n_vocab, embed.n_embd, table.rows};
  const size_t row_bytes = table.rows.size() / embed.n_vocab;
  std::vector<uint32_t> ids = {0};
  ids.insert(ids.end(), embed.ids.begin(), embed.ids.end());
  const uint32_t row_end = embed.row_begin + std::accumulate(parts.begin(), parts.end(), 0u);
  test::Expected expected;
  for (uint32_t id : ids) {
    if (id == kernels::kFeedback) id = embed.next_token;
    if (std::min(id, embed.n_vocab - 1) < embed.row_begin || std::min(id, embed.n_vocab - 1) >= row_end) {
      expected.add_untouched(embed.n_embd);
      continue;
    }
    std::vector<float> row(embed.n_embd);
    format::dequantize(embed.format, &table.rows[row_bytes * std::min(id, embed.n_vocab - 1)], row);
    test::Expected normed = test::layer_norm_expected(gpu, row, vectors, kEpsilon, false);
    normed.values = kernels::embed_ref(reference, id, vectors, kEpsilon);
    expected.add(normed);
  }
  expected.add_untouched(embed.n_embd);
  test::check_close(scene.floats(x), expected, test::kNmseF32);
}

const std::vector<uint32_t> kIds = {4, 0, 10, 4, 11, 0xfffffffe, 7};

std::vector<Case> cases_of(std::span<const WeightFormat> formats) {
  std::vector<Case> cases;
  for (const WeightFormat format : formats) {
    const uint32_t block_weights = format::info(format).block_weights;
    for (const uint32_t n : {1u, 3u}) {
      const uint32_t n_embd = block_weights == 1 ? 129 * n : n * block_weights;
      cases.push_back({"ids", format, 11, n_embd, kIds});
    }
  }
  return cases;
}

}  // namespace

TEST_SUITE_BEGIN("embed");

TEST_CASE("common formats, ids of the vocabulary and beyond it, ids that were sampled") {
  std::vector<Case> cases = cases_of(test::kCommonFormats);
  cases.push_back({"one element", WeightFormat::f16, 1, 1, {0}});
  cases.push_back({"an octet and one", WeightFormat::f16, 2, 9, {1}});
  cases.push_back({"wider than a workgroup takes at once", WeightFormat::f16, 11, 1030, kIds});
  Case fed{"sampled before", WeightFormat::f16, 11, 40, {3, kernels::kFeedback, 5, kernels::kFeedback}};
  for (const uint32_t next_token : {0u, 9u, 11u, kernels::kNoToken}) {
    fed.next_token = next_token;
    cases.push_back(fed);
  }
  for (const auto& gpu : test::gpus()) {
    for (const Case& embed : cases) check_case(*gpu, embed);
  }
}

TEST_CASE("a table in parts and windows: every token is written once, whatever window has its row") {
  std::vector<uint32_t> ids(100);
  for (uint32_t i = 0; i < 100; ++i) ids[i] = 99 - i;
  Case parts{"parts", WeightFormat::f16, 100, 40, ids, {33, 1, 66}};
  Case windows{"windows", WeightFormat::f16, 100, 40, ids, {}, 1000};  // 80 bytes a row, 9 rows a window
  Case both{"windows of parts", WeightFormat::f16, 100, 40, ids, {33, 1, 66}, 1000};
  // 144 bytes a row: windows of 16 rows, and a part that begins with the fifth eight.
  Case together{"windows of rows that lie together", WeightFormat::q4_k, 100, 256, ids, {40, 60}, 256 + 17 * 144};
  for (const auto& gpu : test::gpus()) {
    for (const Case& embed : {parts, windows, both, together}) check_case(*gpu, embed);
  }
}

TEST_CASE("a part of a table writes the tokens of its rows and no other") {
  for (const auto& gpu : test::gpus()) {
    Case middle{"rows 3 to 6 of 10", WeightFormat::f16, 10, 40, {2, 3, 4, 6, 7, 9, 5}, {4}};
    middle.row_begin = 3;
    check_case(*gpu, middle);
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow");

TEST_CASE("embed: the other formats") {
  for (const auto& gpu : test::gpus()) {
    for (const Case& embed : cases_of(test::other_formats())) check_case(*gpu, embed);
  }
}

TEST_SUITE_END();
