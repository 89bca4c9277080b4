// tests/kernels/upload_test.cpp: what goes through the ring arrives, in order, and what a job throws comes out.
#include "gpu/upload.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "kernels/harness.hpp"
#include "kernels/pack.hpp"

using namespace ravenwing;

namespace {

void fill_with(std::byte* to, uint64_t n_bytes, uint32_t first) {
  for (uint64_t i = 0; i < n_bytes / 4; ++i) {
    const uint32_t word = first + uint32_t(i) * 2654435761u;
    std::memcpy(to + 4 * i, &word, 4);
  }
}

}  // namespace

TEST_SUITE_BEGIN("upload");

TEST_CASE("pieces of all sizes, with gaps, to several buffers, more than the ring holds") {
  for (const auto& gpu : test::gpus()) {
    constexpr uint64_t kBytes = 24 << 20;
    std::vector<gpu::Buffer> buffers;
    for (int i = 0; i < 2; ++i) buffers.push_back(gpu->device.create_storage(kBytes, gpu::Account::weights, "target"));
    std::vector<std::vector<std::byte>> expected(2, std::vector<std::byte>(kBytes));
    gpu::UploadRing ring(gpu->device, 2 * kBytes);
    uint32_t n_pieces = 0;
    for (size_t b = 0; b < buffers.size(); ++b) {
      uint64_t at = 4;
      // From 4 bytes to more than a slot of this ring.
      for (const uint64_t size : {4u, 400u, 12u, 9u << 20, 4u, 1u << 20, 3u << 20, 100u, 5u << 20}) {
        fill_with(expected[b].data() + at, size, ++n_pieces);
        ring.copy(buffers[b], at, size, [size, first = n_pieces](std::byte* to) { fill_with(to, size, first); });
        at += size + (n_pieces % 3) * 8;
      }
    }
    ring.finish();
    CHECK(ring.bytes_done() > 0);
    for (size_t b = 0; b < buffers.size(); ++b) CHECK(gpu->device.read(buffers[b]) == expected[b]);
  }
}

TEST_CASE("pieces that the GPU works on lie where a binding can begin, among others that are copied") {
  for (const auto& gpu : test::gpus()) {
    constexpr uint64_t kBytes = 8 << 20;
    const gpu::Buffer copied = gpu->device.create_storage(kBytes, gpu::Account::weights, "copied");
    const gpu::Buffer packed = gpu->device.create_storage(kBytes, gpu::Account::weights, "packed");
    std::vector<std::byte> expected_copied(kBytes), expected_packed(kBytes);
    gpu::UploadRing ring(gpu->device, 2 * kBytes);
    uint64_t at = 0;
    for (const uint32_t n_words : {1u, 100u, 3u, 1u << 18, 300000u, 7u, 65u, 1u << 17}) {
      fill_with(expected_copied.data() + at, n_words * 4, n_words);
      fill_with(expected_packed.data() + at, n_words * 4, ~n_words);
      ring.copy(copied, at, n_words * 4, [n_words](std::byte* to) { fill_with(to, n_words * 4, n_words); });
      // The last word is three bytes long.
      ring.process(
          n_words * 4 - 1, [n_words](std::byte* to) { fill_with(to, n_words * 4, ~n_words); },
          [&, at, n_words](const wgpu::ComputePassEncoder& pass, const gpu::BufferView& bytes) {
            CHECK(bytes.offset % gpu->device.limits().binding_alignment == 0);
            gpu::Plan plan;
            gpu::Recorder recorder(gpu->pipelines, plan);
            kernels::pack(recorder, {kernels::WeightFormat::f32, 1, n_words, bytes, 0, n_words * 4, 4},
                          {kernels::WeightFormat::f32, 1, n_words, {packed, at, (n_words + 7) / 8 * 32}}, 0);
            plan.encode(pass);
          });
      at += (n_words + 7) / 8 * 32;
    }
    ring.finish();
    CHECK(gpu->device.read(copied) == expected_copied);
    CHECK(gpu->device.read(packed) == expected_packed);
  }
}

TEST_CASE("what a job throws ends the upload") {
  if (test::gpus().empty()) return;
  gpu::Device& device = test::gpus().front()->device;
  const gpu::Buffer buffer = device.create_storage(4096, gpu::Account::weights, "target");
  gpu::UploadRing ring(device, 4096);
  ring.copy(buffer, 0, 64, [](std::byte* to) { std::memset(to, 1, 64); });
  ring.copy(buffer, 64, 64, [](std::byte*) { throw std::runtime_error("cut short"); });
  CHECK_THROWS_WITH_AS(ring.finish(), "cut short", std::runtime_error);
}

TEST_CASE("a ring can be given up while its jobs run") {
  if (test::gpus().empty()) return;
  gpu::Device& device = test::gpus().front()->device;
  const gpu::Buffer buffer = device.create_storage(1 << 20, gpu::Account::weights, "target");
  std::atomic<int> n_running = 0;
  {
    gpu::UploadRing ring(device, 1 << 20);
    for (uint64_t i = 0; i < 64; ++i) {
      ring.copy(buffer, i * 1024, 1024, [&](std::byte* to) {
        ++n_running;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::memset(to, 2, 1024);
        --n_running;
      });
    }
  }
  CHECK(n_running == 0);
  CHECK_NOTHROW(device.wait_idle());
}

TEST_SUITE_END();
