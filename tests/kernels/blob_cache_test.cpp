// tests/kernels/blob_cache_test.cpp: compiled shaders that outlive a device, and what becomes of damaged ones.
#include "gpu/blob_cache.hpp"

#include <fstream>
#include <thread>

#include "gpu/plan.hpp"
#include "kernels/harness.hpp"
#include "support/files.hpp"

using namespace ravenwing;

namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// Both calls, as Dawn makes them; "" where there is nothing.
std::string load(gpu::BlobCache& cache, std::string_view key) {
  std::string value(cache.load(bytes_of(key), {}), '?');
  if (!value.empty()) CHECK(cache.load(bytes_of(key), std::as_writable_bytes(std::span(value))) == value.size());
  return value;
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

/// What becomes of an entry whose file was changed: nothing is loaded, the file is gone, a new one can be stored.
void check_dropped(const std::function<void(const fs::path&)>& damage) {
  const test::TemporaryFolder folder;
  gpu::BlobCache cache(folder.path());
  cache.store(bytes_of("key"), bytes_of("a compiled shader"));
  const std::vector<fs::path> files = files_of(folder.path());
  REQUIRE(files.size() == 1);
  damage(files.front());
  CHECK(load(cache, "key").empty());
  CHECK(cache.counts().damaged == 1);
  CHECK(cache.counts().hits == 0);
  CHECK_FALSE(fs::exists(files.front()));
  cache.store(bytes_of("key"), bytes_of("another"));
  CHECK(load(cache, "key") == "another");
}

/// Squares 64 numbers through a pipeline compiled by a device of this tier with this cache.
std::vector<uint32_t> squares(gpu::Tier tier, const fs::path& folder, gpu::BlobCache::Counts& counts) {
  gpu::Device device({.selector = test::test_device(), .tier = tier, .cache_folder = folder});
  gpu::PipelineCache pipelines(device, {{"square", R"(
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
var<immediate> factor: u32;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { data[i] = i * i * factor; }
)"}});
  const gpu::Buffer data = device.create_storage(256, gpu::Account::scratch, "data");
  gpu::Recorder(pipelines).dispatch("square", {.shader = "square"}, {gpu::read_write(data)}, uint32_t(3), {});
  gpu::Plan plan;
  gpu::Recorder(pipelines, plan).dispatch("square", {.shader = "square"}, {gpu::read_write(data)}, uint32_t(3), {});
  CHECK(pipelines.size() == 1);
  const wgpu::CommandEncoder encoder = device.handle().CreateCommandEncoder();
  const wgpu::ComputePassEncoder pass = encoder.BeginComputePass();
  plan.encode(pass);
  pass.End();
  device.submit(encoder.Finish());
  const std::vector<std::byte> bytes = device.read(data);
  std::vector<uint32_t> result(64);
  std::memcpy(result.data(), bytes.data(), bytes.size());
  counts = device.cache_counts();
  return result;
}

}  // namespace

TEST_SUITE_BEGIN("blob_cache");

TEST_CASE("an entry is there for the next cache of the folder, and only under its key") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "new/and/deep";
  const std::string value("\0compiled\xff", 10);
  {
    gpu::BlobCache cache(path);
    CHECK(load(cache, "key").empty());
    cache.store(bytes_of("key"), bytes_of(value));
    cache.store(bytes_of("empty"), {});
    CHECK(load(cache, "empty").empty());
  }
  gpu::BlobCache cache(path);
  CHECK(load(cache, "key") == value);
  CHECK(load(cache, "kez").empty());
  cache.store(bytes_of("key"), bytes_of("new"));
  CHECK(load(cache, "key") == "new");
  CHECK(cache.counts().hits == 2);
  CHECK(cache.counts().misses == 1);
  CHECK(cache.counts().damaged == 0);
}

TEST_CASE("the value is the one whose size was told, whatever happens to the file in between") {
  const test::TemporaryFolder folder;
  gpu::BlobCache cache(folder.path());
  cache.store(bytes_of("key"), bytes_of("first"));
  REQUIRE(cache.load(bytes_of("key"), {}) == 5);
  for (const fs::path& file : files_of(folder.path())) fs::remove(file);
  std::string value(5, '?');
  CHECK(cache.load(bytes_of("key"), std::as_writable_bytes(std::span(value))) == 5);
  CHECK(value == "first");
}

TEST_CASE("RELIABILITY 45: an entry that is cut, grown, changed or another's is dropped") {
  const test::TemporaryFolder other;
  gpu::BlobCache(other.path()).store(bytes_of("kex"), bytes_of("a compiled shader"));
  const std::vector<std::byte> foreign = test::read_file(files_of(other.path()).front());
  check_dropped([&](const fs::path& file) { test::write_file(file, foreign); });
  check_dropped([](const fs::path& file) { test::write_file(file, std::string_view()); });
  check_dropped([](const fs::path& file) { test::write_file(file, std::string_view("not an entry")); });
  check_dropped([](const fs::path& file) { std::ofstream(file, std::ios::app) << 'x'; });
  for (size_t i = 0; i < foreign.size(); ++i) {
    check_dropped([i](const fs::path& file) { fs::resize_file(file, i); });
    check_dropped([i](const fs::path& file) {
      std::vector<std::byte> bytes = test::read_file(file);
      bytes[i] ^= std::byte{1};
      test::write_file(file, bytes);
    });
  }
}

TEST_CASE("beyond its bound the cache drops what was not used for longest, and nothing that is not its own") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "notes.txt", std::string(5000, 'n'));
  test::write_file(folder / "0123456789abcdef0123456789abcdef.tmp-left00", std::string(100, 't'));
  const auto age = [](const fs::path& file, int hours) {
    fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  age(folder / "0123456789abcdef0123456789abcdef.tmp-left00", 2);
  gpu::BlobCache cache(folder.path(), 4096);
  const std::string value(900, 'v');
  for (const char* key : {"a", "b", "c", "d"}) cache.store(bytes_of(key), bytes_of(value));
  for (const fs::path& file : files_of(folder.path())) age(file, 3);
  CHECK(load(cache, "a") == value);  // used now
  cache.store(bytes_of("e"), bytes_of(value));
  CHECK(load(cache, "a") == value);
  CHECK(load(cache, "e") == value);
  CHECK(files_of(folder.path()).size() < 6);
  CHECK(fs::exists(folder / "notes.txt"));
  CHECK_FALSE(fs::exists(folder / "0123456789abcdef0123456789abcdef.tmp-left00"));
  cache.store(bytes_of("too large"), bytes_of(std::string(5000, 'x')));
  CHECK(load(cache, "too large").empty());
}

TEST_CASE("a folder that cannot be is as if there were no cache") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "file", std::string_view("x"));
  for (const fs::path& path : {folder / "file/below", fs::path("/proc/none"), fs::path("/dev/full")}) {
    gpu::BlobCache cache(path);
    cache.store(bytes_of("key"), bytes_of("value"));
    CHECK(load(cache, "key").empty());
  }
}

TEST_CASE("several threads and caches on one folder") {
  const test::TemporaryFolder folder;
  gpu::BlobCache cache(folder.path(), 20'000), beside(folder.path(), 20'000);
  std::atomic<int> n_wrong = 0;
  const auto work = [&](gpu::BlobCache& own) {
    for (int i = 0; i < 200; ++i) {
      const std::string key = "key" + std::to_string(i % 20), value(500 + size_t(i % 20), char('a' + i % 20));
      own.store(bytes_of(key), bytes_of(value));
      std::string found(own.load(bytes_of(key), {}), '?');
      if (!found.empty()) own.load(bytes_of(key), std::as_writable_bytes(std::span(found)));
      if (!found.empty() && found != value) ++n_wrong;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&, i] { work(i % 2 == 0 ? cache : beside); });
  }
  CHECK(n_wrong == 0);
  CHECK(cache.counts().damaged == 0);
}

TEST_CASE("a second device finds what the first compiled; damaged entries change no result") {
  for (const auto& gpu : test::gpus()) {
    const test::TemporaryFolder folder;
    gpu::BlobCache::Counts counts;
    const gpu::Tier tier = gpu->device.tier();
    const std::vector<uint32_t> expected = squares(tier, folder.path(), counts);
    CHECK(expected[5] == 75);
    CHECK(counts.hits == 0);
    CHECK(counts.misses > 0);
    CHECK(squares(tier, folder.path(), counts) == expected);
    CHECK(counts.hits > 0);
    CHECK(counts.damaged == 0);
    const std::vector<fs::path> files = files_of(folder.path());
    REQUIRE(!files.empty());
    for (const bool cut : {false, true}) {
      for (const fs::path& file : files) {
        std::vector<std::byte> bytes = test::read_file(file);
        if (!cut) bytes[bytes.size() - 9] ^= std::byte{0x40};
        if (cut) bytes.resize(bytes.size() / 2);
        test::write_file(file, bytes);
      }
      CHECK(squares(tier, folder.path(), counts) == expected);
      CHECK(counts.hits == 0);
      CHECK(counts.damaged > 0);
      CHECK(squares(tier, folder.path(), counts) == expected);
      CHECK(counts.hits > 0);
    }
  }
}

TEST_SUITE_END();
