// tests/model/faults_test.cpp: memory that ends, and weights that are no numbers.
#include <cstring>

#include "base/bytes.hpp"
#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

using format::WeightFormat;

constexpr uint64_t kNever = 1 << 30;

/// A model in every kind of memory: quantised, f16, and matrices that are converted.
RandomModelOptions small_shape() {
  RandomModelOptions options;
  options.n_embd = 128;
  options.head_size = 64;
  options.matrices = WeightFormat::q8_0;
  return options;
}

/// What any call may say where memory ends.
void check_refusal(const Error& error) {
  const std::string text = error.what();
  CAPTURE(text);
  CHECK(error.code() == ErrorCode::out_of_memory);
  CHECK(text.find(" has no room for ") != text.npos);
  CHECK(text.find(" MiB of weights") != text.npos);
  CHECK(text.find("smaller quantisation") != text.npos);
}

/// Everything that makes buffers when it is first done.
std::vector<float> use(rwkv7::Model& model) {
  model.reset_slot(0);
  const Ids ids = some_ids(1, model.config().n_vocab);
  std::vector<float> logits = run(model, {{0, ids, Outputs::last, true}});
  model.read_sampled();
  model.states().copy(0, 1);
  model.states().checkpoint(1, 0);
  model.states().roll_back(1, 0);
  const std::vector<float> next = run(model, {{1, ids}});
  logits.insert(logits.end(), next.begin(), next.end());
  return logits;
}

/// Whether a token drawn from the model is refused as no number's.
bool is_refused(gpu::Device& device, const GgufWriter& writer) {
  const TemporaryFolder folder;
  write_file(folder / "model", writer.bytes());
  GpuModel loaded(device, folder / "model");
  loaded.model.states().write_control(0, {});
  const Ids ids = {1, 2, 3};
  for (const uint32_t& id : ids) submit(loaded.model, {{0, {&id, 1}, Outputs::last, id == ids.back()}});
  return loaded.model.read_sampled().at(0).frozen == kernels::Frozen::numerical;
}

/// Makes a weight, or the scale of a block of weights, what the bits of an f16 say. In row 2: the embedding of id 2.
void spoil(GgufWriter& writer, const std::string& name, uint16_t bits) {
  GgufWriter::Tensor& tensor = writer.tensor(name);
  const size_t row_bytes = tensor.data.size() / tensor.ne.at(1);
  std::memcpy(&tensor.data.at(2 * row_bytes), &bits, sizeof(bits));
}

void check_every_matrix(Tier tier) {
  const auto device = open_device(tier);
  if (!device) return;
  const GgufWriter good = random_gguf(small_shape());
  CHECK_FALSE(is_refused(*device, good));
  const auto check = [&](const std::string& name, uint16_t bits) {
    CAPTURE(name);
    CAPTURE(bits);
    GgufWriter writer = good;
    spoil(writer, name, bits);
    CHECK(is_refused(*device, writer));
  };
  constexpr uint16_t kInfinity = 0x7c00, kNan = 0xfe00;
  for (const char* name : {"token_embd.weight", "blk.1.time_mix_key.weight", "blk.1.time_mix_output.weight",
                           "blk.1.channel_mix_value.weight"})
    check(name, kInfinity);
  // Infinity may be right elsewhere: an activation makes 1 or 0 of it, a token with such a logit never comes.
  check("output.weight", kNan);
  for (const char* name : {"receptance", "value", "w1", "a2", "v1", "g1"})
    check(fmt::format("blk.1.time_mix_{}.weight", name), kNan);
  check("blk.1.channel_mix_key.weight", kNan);
}

}  // namespace

TEST_SUITE("faults") {
  TEST_CASE("RELIABILITY 42: no memory for any one of the buffers that a load makes") {
    const auto device = open_device(Tier::t0);
    if (!device) return;
    const TemporaryFolder folder;
    write_random_gguf(folder / "model", small_shape());
    // The arenas small, so that there are several.
    const rwkv7::ModelOptions options{.n_slots = 2, .placement = {.arena_bytes_max = 64 << 10, .low_rank_formats = {}}};
    uint64_t n_failed = 0;
    for (bool loaded = false; !loaded; ++n_failed) {
      device->fail_buffer(n_failed);
      try {
        const GpuModel model(*device, folder / "model", options);
        loaded = true;
      } catch (const Error& error) {
        check_refusal(error);
      }
      for (size_t account = 0; account < gpu::kAccountCount; ++account)
        CHECK(device->bytes_used(gpu::Account(account)) == 0);
    }
    CHECK(n_failed > 20);
    device->fail_buffer(kNever);
    GpuModel model(*device, folder / "model", options);
    CHECK_NOTHROW(use(model.model));
  }

  TEST_CASE("RELIABILITY 42: memory of a size, beside what is there for a moment") {
    const auto device = open_device(Tier::t0);
    if (!device) return;
    device->faults().memory_bytes = 1 << 20;
    const gpu::Buffer first = device->create_storage(1 << 19, gpu::Account::state, "first");
    CHECK_THROWS_AS(device->create_storage((1 << 19) + 4, gpu::Account::state, "second"), Error);
    CHECK_NOTHROW(device->create_storage(1 << 21, gpu::Account::staging, "staging"));
    CHECK_NOTHROW(device->create_storage(1 << 19, gpu::Account::scratch, "third"));
  }

  TEST_CASE("RELIABILITY 42: no memory for a buffer that is made later, and the model goes on") {
    const auto device = open_device(Tier::t0);
    if (!device) return;
    const TemporaryFolder folder;
    write_random_gguf(folder / "model", small_shape());
    GpuModel model(*device, folder / "model", exact_options());
    uint64_t n_failed = 0;
    std::vector<float> logits;
    for (; logits.empty(); ++n_failed) {
      device->fail_buffer(n_failed == 0 ? 0 : 1);  // makes the one that failed before, and fails the next
      try {
        logits = use(model.model);
      } catch (const Error& error) {
        check_refusal(error);
      }
    }
    CHECK(n_failed > 3);
    device->fail_buffer(kNever);
    CHECK(same_bits(logits, use(model.model)));
  }

  TEST_CASE("RELIABILITY 23: infinity or NaN in any matrix ends a generation, on T0") { check_every_matrix(Tier::t0); }
  TEST_CASE("RELIABILITY 23: infinity or NaN in any matrix ends a generation, on T1") { check_every_matrix(Tier::t1); }
}
