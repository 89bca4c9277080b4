// tests/model/loading_test.cpp: however weights come to the GPU, they are the same bits.
#include <filesystem>

#include "model/support.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

struct Results {
  std::vector<float> first, later;
  rwkv7::HostState state;
};

/// Some steps: one without outputs, which needs no head, then some tokens and a single one.
Results run_some(rwkv7::Model& model) {
  const Ids ids = some_ids(9, model.config().n_vocab);
  Results results;
  submit(model, {{1, std::span(ids).first(3), Outputs::none}});
  results.first = run(model, {{1, std::span(ids).subspan(3, 5)}});
  results.later = run(model, {{1, std::span(ids).last(1)}});
  results.state = model.states().read(1);
  return results;
}

void check_same(const Results& found, const Results& expected) {
  CHECK(same_bits(found.first, expected.first));
  CHECK(same_bits(found.later, expected.later));
  CHECK(same_bits(found.state, expected.state));
}

/// A model, and what loading it reported.
struct Loaded {
  Loaded(gpu::Device& device, const std::filesystem::path& path, rwkv7::ModelOptions options,
         MappedFile::Access access = MappedFile::Access::mapped, bool keep = false)
      : file(format::ModelFile::open(path, access)), source(rwkv7::read_model_source(file)) {
    if (keep) file.keep([&](uint64_t n) { kept = n; });
    const auto report = [this](uint64_t n, uint64_t n_all) {
      CHECK(n <= n_all);
      done = n;
      total = n_all;
    };
    model = std::make_unique<rwkv7::Model>(device, file, source, options, report);
    file.forget();
  }
  bool complete() const { return total > 0 && done == total; }

  format::ModelFile file;
  rwkv7::ModelSource source;
  uint64_t kept = 0, done = 0, total = 0;
  std::unique_ptr<rwkv7::Model> model;
};

void check_modes(Tier tier, const std::filesystem::path& path, uint64_t arena_bytes_max = 0) {
  const auto device = open_device(tier);
  if (!device) return;
  rwkv7::ModelOptions options;
  options.placement.arena_bytes_max = arena_bytes_max;
  Loaded stream(*device, path, options);
  CHECK(stream.complete());
  const uint64_t total = stream.total;
  const Results expected = run_some(*stream.model);

  Loaded full(*device, path, options, MappedFile::Access::read, true);
  CHECK(full.kept == full.file.file_bytes());
  CHECK(full.complete());
  check_same(run_some(*full.model), expected);

  options.lazy = options.compile_ahead = true;
  for (const auto access : {MappedFile::Access::mapped, MappedFile::Access::read}) {
    Loaded lazy(*device, path, options, access);
    CHECK(lazy.total == 0);
    submit(*lazy.model, {{0, some_ids(1, lazy.model->config().n_vocab), Outputs::none}});
    CHECK(lazy.complete());
    CHECK(lazy.total < total);  // without the head
    const uint64_t without_head = lazy.total;
    check_same(run_some(*lazy.model), expected);
    CHECK(lazy.complete());
    CHECK(lazy.total == total - without_head);
  }
}

ErrorCode code_of_step(rwkv7::Model& model) {
  try {
    submit(model, {{0, some_ids(2, model.config().n_vocab)}});
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace

TEST_SUITE_BEGIN("loading");

TEST_CASE("stream, full and lazy loading, mapped or read, give the same bits: the demo model") {
  check_modes(Tier::t1, demo_model());
}

TEST_CASE("stream, full and lazy loading give the same bits: a random model of many arenas") {
  const TemporaryFolder folder;
  write_file(folder / "model", random_gguf({}).bytes());
  check_modes(Tier::t0, folder / "model");
  check_modes(Tier::t0, folder / "model", 16 << 10);
}

TEST_CASE("what ends a lazy load ends the model: a file that was cut, a caller who cancels") {
  const auto device = open_device(Tier::t0);
  if (!device) return;
  const TemporaryFolder folder;
  const std::vector<std::byte> bytes = random_gguf({}).bytes();
  rwkv7::ModelOptions options;
  options.lazy = true;
  for (const auto access : {MappedFile::Access::mapped, MappedFile::Access::read}) {
    write_file(folder / "model", bytes);
    const auto file = format::ModelFile::open(folder / "model", access);
    const auto source = rwkv7::read_model_source(file);
    rwkv7::Model cut(*device, file, source, options);
    std::filesystem::resize_file(folder / "model", bytes.size() / 2);
    CHECK(code_of_step(cut) == ErrorCode::bad_file);
    write_file(folder / "model", bytes);
    CHECK(code_of_step(cut) == ErrorCode::bad_file);
  }
  const auto file = format::ModelFile::open(folder / "model");
  const auto source = rwkv7::read_model_source(file);
  int n_calls = 0;
  rwkv7::Model cancelled(*device, file, source, options, [&](uint64_t, uint64_t) {
    if (++n_calls == 3) throw Error(ErrorCode::cancelled, "cancelled");
  });
  CHECK(code_of_step(cancelled) == ErrorCode::cancelled);
  CHECK(code_of_step(cancelled) == ErrorCode::cancelled);
  CHECK(n_calls == 3);
}

TEST_SUITE_END();
