// tests/unit/rwkv7_tensors_test.cpp: finding an RWKV-7 model's tensors, and refusing files that are no such model.
#include "model/rwkv7_tensors.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "model/rwkv7_ref.hpp"
#include "support/random_model.hpp"
#include "support/refusal.hpp"

using namespace ravenwing;
using test::check_refused;
using test::GgufWriter;
using test::Reading;
using test::SafetensorsWriter;

namespace {

template <typename Change>
std::vector<std::byte> changed_gguf(Change change) {
  GgufWriter writer = test::random_gguf({});
  change(writer);
  return writer.bytes();
}

template <typename Change>
std::vector<std::byte> changed_safetensors(Change change) {
  SafetensorsWriter writer = test::random_safetensors({});
  change(writer);
  return writer.bytes();
}

/// The message of a GGUF model with one metadata number changed.
void check_key_refused(const std::string& key, uint32_t value, const std::vector<std::string>& parts,
                       ErrorCode code = ErrorCode::bad_file) {
  check_refused(changed_gguf([&](GgufWriter& writer) { writer.set(key, value); }), parts, Reading::model, code);
}

/// Gives a tensor another shape and as many zero bytes as that needs.
void reshape(GgufWriter& writer, const std::string& name, std::vector<uint64_t> ne, uint64_t element_bytes) {
  GgufWriter::Tensor& tensor = writer.tensor(name);
  uint64_t n_bytes = element_bytes;
  for (const uint64_t length : ne) n_bytes *= length;
  tensor.ne = std::move(ne);
  tensor.data.assign(size_t(n_bytes), std::byte{});
}

std::vector<float> logits_of(const std::vector<std::byte>& bytes) {
  const test::TemporaryFolder folder;
  test::write_file(folder / "model", bytes);
  const auto file = format::ModelFile::open(folder / "model");
  const rwkv7::Reference reference(rwkv7::read_model_source(file));
  rwkv7::RefState state(reference.config());
  return reference.forward(std::vector<uint32_t>{1, 2, 3}, state);
}

}  // namespace

TEST_CASE("shapes come from the file") {
  const test::TemporaryFolder folder;
  test::RandomModelOptions options;
  options.n_layer = 3;
  options.n_embd = 96;
  options.head_size = 24;
  options.n_ffn = 200;
  options.n_vocab = 321;
  options.rank_w = 8;
  options.rank_a = 1;
  options.rank_v = 5;
  options.rank_g = 130;
  test::write_random_gguf(folder / "gguf", options);
  test::write_random_safetensors(folder / "safetensors", options);
  for (const char* name : {"gguf", "safetensors"}) {
    CAPTURE(name);
    const auto file = format::ModelFile::open(folder / name);
    const rwkv7::Config config = rwkv7::read_model_source(file).config;
    const rwkv7::Config expected = {.n_layer = 3,
                                    .n_embd = 96,
                                    .n_head = 4,
                                    .head_size = 24,
                                    .n_ffn = 200,
                                    .n_vocab = 321,
                                    .rank_w = 8,
                                    .rank_a = 1,
                                    .rank_v = 5,
                                    .rank_g = 130};
    CHECK(config == expected);
  }
}

TEST_CASE("rows of a matrix decode alike whether it is stored transposed or not") {
  const test::TemporaryFolder folder;
  test::write_random_gguf(folder / "gguf", {});
  test::write_random_safetensors(folder / "safetensors", {});
  const auto gguf = format::ModelFile::open(folder / "gguf"),
             safetensors = format::ModelFile::open(folder / "safetensors");
  const rwkv7::ModelSource a = rwkv7::read_model_source(gguf), b = rwkv7::read_model_source(safetensors);
  const rwkv7::MatrixSource &plain = a.layers[1].g.up, &transposed = b.layers[1].g.up;
  CHECK_FALSE(plain.transposed);
  CHECK(transposed.transposed);
  REQUIRE(plain.n_out == 64);
  REQUIRE(plain.n_in == 20);
  std::vector<float> all(64 * 20), some(3 * 20), others(3 * 20);
  plain.decode_rows(0, 64, all.data());
  plain.decode_rows(7, 10, some.data());
  transposed.decode_rows(7, 10, others.data());
  CHECK(some == others);
  CHECK(std::memcmp(some.data(), all.data() + 7 * 20, some.size() * sizeof(float)) == 0);
  CHECK(a.layers[1].x_g == b.layers[1].x_g);
  CHECK(a.layers[0].r_k == b.layers[0].r_k);
}

TEST_CASE("a model of one layer has no value residual") {
  test::RandomModelOptions options;
  options.n_layer = 1;
  const test::TemporaryFolder folder;
  test::write_random_gguf(folder / "gguf", options);
  const auto file = format::ModelFile::open(folder / "gguf");
  const rwkv7::ModelSource source = rwkv7::read_model_source(file);
  CHECK(source.config.rank_v == 0);
  CHECK_FALSE(bool(source.layers[0].v.down));
  CHECK(source.layers[0].v0.empty());
}

TEST_CASE("RELIABILITY 19: architectures") {
  check_refused(changed_gguf([](GgufWriter& writer) { writer.erase_key("general.architecture"); }),
                {"'general.architecture' is missing"}, Reading::model);
  for (const std::string name : {"llama", "rwkv8", "rwkv6", ""}) {
    check_refused(changed_gguf([&](GgufWriter& writer) { writer.set("general.architecture", name.c_str()); }),
                  {"architecture '" + name + "' not supported"}, Reading::model, ErrorCode::unsupported);
  }
}

TEST_CASE("RELIABILITY 20: any tensor missing") {
  const GgufWriter whole = test::random_gguf({});
  for (const GgufWriter::Tensor& tensor : whole.tensors) {
    const std::string& name = tensor.name;
    if (name.starts_with("blk.0.time_mix_v") && name.find("value") == name.npos) continue;  // row 21: may be absent
    GgufWriter without = whole;
    without.erase_tensor(name);
    // Without the stacked vectors, the six single ones are looked for.
    const std::string missing =
        name.ends_with("lerp_fused.weight") ? name.substr(0, name.size() - 12) + "r.weight" : name;
    check_refused(without.bytes(), {"tensor '" + missing + "' is missing"}, Reading::model);
  }
  const SafetensorsWriter other = test::random_safetensors({});
  for (const SafetensorsWriter::Tensor& tensor : other.tensors) {
    SafetensorsWriter without = other;
    without.erase_tensor(tensor.name);
    check_refused(without.bytes(), {"tensor '" + tensor.name + "' is missing"}, Reading::model);
  }
}

TEST_CASE("RELIABILITY 20: any tensor of another shape") {
  const GgufWriter whole = test::random_gguf({});
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    const std::string& name = whole.tensors[i].name;
    if (name.starts_with("blk.0.time_mix_v") && name.find("value") == name.npos) continue;
    CAPTURE(name);
    GgufWriter longer = whole;
    const uint64_t element_bytes = longer.tensors[i].type == 0 ? 4 : 2;
    std::vector<uint64_t> ne = longer.tensors[i].ne;
    ++ne.front();
    reshape(longer, name, ne, element_bytes);
    // Which of two tensors that disagree is the wrong one cannot be known; some message must come.
    CHECK(test::refusal_of(longer.bytes(), Reading::model).code == ErrorCode::bad_file);
  }
  check_refused(changed_gguf([](GgufWriter& writer) {
                  reshape(writer, "blk.1.time_mix_key.weight", {64, 65}, 2);
                }),
                {"tensor 'blk.1.time_mix_key.weight': shape [65, 64], expected [64, 64]"}, Reading::model);
  check_refused(changed_gguf([](GgufWriter& writer) {
                  reshape(writer, "output.weight", {64, 299}, 2);
                }),
                {"tensor 'output.weight': shape [299, 64], expected [300, 64]"}, Reading::model);
  check_refused(changed_gguf([](GgufWriter& writer) {
                  reshape(writer, "blk.1.time_mix_w1.weight", {64, 17}, 2);
                }),
                {"tensor 'blk.1.time_mix_w1.weight': shape [17, 64], expected [16, 64]"}, Reading::model);
  check_refused(changed_gguf([](GgufWriter& writer) { reshape(writer, "token_embd.weight", {64}, 2); }),
                {"tensor 'token_embd.weight': shape [64] is no matrix"}, Reading::model);
}

TEST_CASE("RELIABILITY 20: metadata that disagrees with the tensors") {
  check_key_refused("rwkv7.attention.decay_lora_rank", 17, {"decay_lora_rank' says 17, the tensors have 16"});
  check_key_refused("rwkv7.attention.iclr_lora_rank", 0, {"iclr_lora_rank' says 0, the tensors have 12"});
  check_key_refused("rwkv7.attention.value_residual_mix_lora_rank", 9, {"value_residual_mix_lora_rank' says 9"});
  check_key_refused("rwkv7.attention.gate_lora_rank", 1u << 31, {"gate_lora_rank' says 2147483648"});
  check_key_refused("rwkv7.block_count", 0, {"block_count' says 0, the tensors have 2"});
  check_key_refused("rwkv7.block_count", 1, {"block_count' says 1, the tensors have 2"});
  check_key_refused("rwkv7.block_count", 1'000'000, {"block_count' says 1000000, the tensors have 2"});
  check_key_refused("rwkv7.embedding_length", 128, {"embedding_length' says 128, the tensors have 64"});
  check_key_refused("rwkv7.feed_forward_length", 0, {"feed_forward_length' says 0, the tensors have 128"});
  check_refused(changed_gguf([](GgufWriter& writer) { writer.set("rwkv7.block_count", "2"); }),
                {"'rwkv7.block_count' is no unsigned integer"}, Reading::model);
  check_refused(changed_gguf([](GgufWriter& writer) { writer.set("rwkv7.attention.layer_norm_epsilon", -1.0f); }),
                {"layer_norm_epsilon"}, Reading::model);
}

TEST_CASE("RELIABILITY 20: numbers of layers that the tensors' own names claim") {
  const auto rename = [](std::string name) {
    return changed_gguf([&](GgufWriter& writer) { writer.tensors.back().name = name; });
  };
  check_refused(rename("blk.1000000.ln1.weight"), {"'blk.1000000.ln1.weight' belongs to no layer"}, Reading::model);
  check_refused(rename("blk.99999999999999999999.x"), {"belongs to no layer"}, Reading::model);
  check_refused(rename("blk.x.weight"), {"belongs to no layer"}, Reading::model);
  check_refused(changed_gguf([](GgufWriter& writer) {
                  std::erase_if(writer.tensors, [](const auto& tensor) { return tensor.name.starts_with("blk."); });
                  writer.erase_key("rwkv7.block_count");
                }),
                {"no layers"}, Reading::model);
}

TEST_CASE("RELIABILITY 20: head sizes") {
  const std::string key = "rwkv7.wkv.head_size";
  for (const uint32_t head_size : {0u, 2u, 63u, 132u, 256u, 0xffffffffu}) {
    check_key_refused(key, head_size, {key, "head size " + std::to_string(head_size)}, ErrorCode::unsupported);
  }
  check_key_refused(key, 48, {key, "head size 48 does not divide the width 64"});
  check_refused(changed_gguf([&](GgufWriter& writer) { writer.erase_key(key); }), {key, "missing"}, Reading::model);
  for (const uint32_t head_size : {4u, 32u, 64u}) {
    test::check_accepted(changed_gguf([&](GgufWriter& writer) { writer.set(key, head_size); }), Reading::model);
  }
  const auto with_r_k = [](std::vector<uint64_t> shape) {
    return changed_safetensors([&](SafetensorsWriter& writer) { writer.tensor("blocks.0.att.r_k").shape = shape; });
  };
  check_refused(with_r_k({32, 2}), {"blocks.0.att.r_k", "head size 2"}, Reading::model, ErrorCode::unsupported);
  check_refused(with_r_k({64}), {"blocks.0.att.r_k", "no matrix"}, Reading::model);
}

TEST_CASE("RELIABILITY 20: sizes of zero") {
  const auto emptied = [](const std::string& name, std::vector<uint64_t> shape) {
    return changed_safetensors([&](SafetensorsWriter& writer) {
      SafetensorsWriter::Tensor& tensor = writer.tensor(name);
      tensor.shape = shape;
      tensor.data.clear();
    });
  };
  for (const std::string name :
       {"blocks.0.ffn.key.weight", "emb.weight", "head.weight", "blocks.0.att.w1", "blocks.0.att.r_k"}) {
    check_refused(emptied(name, {0, 64}), {"tensor '" + name + "'", "dimension of 0"}, Reading::model);
    check_refused(emptied(name, {64, 0}), {"tensor '" + name + "'", "dimension of 0"}, Reading::model);
  }
}

TEST_CASE("RELIABILITY 20: a token list of another length than the vocabulary") {
  for (const size_t n : {size_t(299), size_t(301), size_t(0)}) {
    check_refused(changed_gguf([&](GgufWriter& writer) {
                    writer.set("tokenizer.ggml.tokens", std::vector<std::string>(n, "a"));
                  }),
                  {"tokenizer.ggml.tokens", std::to_string(n) + " tokens", "300 rows"}, Reading::model);
  }
}

TEST_CASE("RELIABILITY 21: what the first layer holds as v0, v1, v2 changes nothing") {
  const std::vector<float> expected = logits_of(test::random_gguf({}).bytes());
  CHECK(
      logits_of(changed_gguf([](GgufWriter& writer) {
        for (const char* name : {"blk.0.time_mix_v0.weight", "blk.0.time_mix_v1.weight", "blk.0.time_mix_v2.weight"}) {
          writer.erase_tensor(name);
        }
      })) == expected);
  CHECK(logits_of(changed_gguf([](GgufWriter& writer) {
          reshape(writer, "blk.0.time_mix_v1.weight", {64, 8}, 2);
          reshape(writer, "blk.0.time_mix_v2.weight", {8, 64}, 2);
        })) == expected);
}

TEST_CASE("RELIABILITY 22: forms of the token shift's vectors") {
  const std::vector<float> expected = logits_of(test::random_gguf({}).bytes());
  const std::string fused = "blk.0.time_mix_lerp_fused.weight";
  CHECK(logits_of(changed_gguf([&](GgufWriter& writer) { writer.tensor(fused).ne = {64, 6}; })) == expected);
  CHECK(logits_of(changed_gguf([&](GgufWriter& writer) {
          const GgufWriter::Tensor all = writer.tensor(fused);
          writer.erase_tensor(fused);
          for (size_t i = 0; i < 6; ++i) {
            GgufWriter::Tensor& one = writer.tensors.emplace_back();
            one.name = fmt::format("blk.0.time_mix_lerp_{}.weight", "rwkvag"[i]);
            one.ne = {64, 1, 1};
            one.data.assign(all.data.begin() + std::ptrdiff_t(i * 256),
                            all.data.begin() + std::ptrdiff_t((i + 1) * 256));
          }
        })) == expected);
  check_refused(changed_gguf([&](GgufWriter& writer) {
                  reshape(writer, fused, {64, 1, 1, 5}, 4);
                }),
                {fused, "expected 384 elements"}, Reading::model);
  check_refused(changed_gguf([&](GgufWriter& writer) {
                  writer.tensor(fused).ne = {6, 64};
                }),
                {fused, "rows of 64"}, Reading::model);
}

TEST_CASE("a vector of a quantised type is refused") {
  test::RandomModelOptions options;
  options.n_embd = options.head_size = 64;
  GgufWriter writer = test::random_gguf(options);
  GgufWriter::Tensor& tensor = writer.tensor("output_norm.bias");
  tensor.type = test::ggml_type_number(format::WeightFormat::q8_0);
  tensor.data.resize(2 * 34);
  check_refused(writer.bytes(), {"'output_norm.bias'", "Q8_0"}, Reading::model, ErrorCode::unsupported);
}

TEST_CASE("RELIABILITY 27: one part of a split model is refused") {
  check_key_refused("split.count", 3, {"split over several files"}, ErrorCode::unsupported);
}

TEST_CASE("safetensors keys may be written in capitals, but not twice") {
  const auto shout = [](SafetensorsWriter& writer) {
    for (SafetensorsWriter::Tensor& tensor : writer.tensors) {
      for (char& letter : tensor.name) letter = char(std::toupper(letter));
    }
  };
  CHECK(logits_of(changed_safetensors(shout)) == logits_of(test::random_safetensors({}).bytes()));
  check_refused(changed_safetensors([](SafetensorsWriter& writer) {
                  SafetensorsWriter::Tensor copy = writer.tensor("ln_out.bias");
                  copy.name = "LN_out.bias";
                  writer.tensors.push_back(copy);
                }),
                {"'ln_out.bias' occurs twice"}, Reading::model);
}

TEST_CASE("safetensors low-rank matrices may be stored either way round") {
  const std::vector<float> expected = logits_of(test::random_safetensors({}).bytes());
  const GgufWriter rows = test::random_gguf({});
  CHECK(logits_of(changed_safetensors([&](SafetensorsWriter& writer) {
          for (const int layer : {0, 1}) {
            for (const std::string part : {"w1", "w2", "a1", "a2", "g1", "g2"}) {
              SafetensorsWriter::Tensor& tensor = writer.tensor(fmt::format("blocks.{}.att.{}", layer, part));
              std::swap(tensor.shape[0], tensor.shape[1]);
              GgufWriter copy = rows;
              tensor.data = copy.tensor(fmt::format("blk.{}.time_mix_{}.weight", layer, part)).data;
            }
          }
        })) == expected);
}
