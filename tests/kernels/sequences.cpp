// tests/kernels/sequences.cpp
#include "kernels/sequences.hpp"

#include <algorithm>

namespace ravenwing::test {

uint32_t token_count(const std::vector<SequenceChunk>& chunks) {
  uint32_t n = 0;
  for (const SequenceChunk& chunk : chunks) n += chunk.count;
  return n;
}

uint32_t slot_count(const std::vector<SequenceChunk>& chunks) {
  uint32_t n = 1;
  for (const SequenceChunk& chunk : chunks) n = std::max(n, chunk.slot + 1);
  return n;
}

void add_chunks(Scene& scene, const std::vector<SequenceChunk>& chunks) {
  scene.control.resize(slot_count(chunks));
  for (const SequenceChunk& chunk : chunks) {
    const std::vector<uint32_t> ids(chunk.count);
    scene.step().add_chunk({chunk.slot, ids});
    if (chunk.frozen) scene.control[chunk.slot].frozen = uint32_t(kernels::Frozen::stop);
  }
}

std::vector<float> Planes::take(std::span<const float> memory) const {
  const size_t stride = kernels::act_stride(n);
  REQUIRE(memory.size() == n_planes * tokens_max * stride);
  std::vector<float> used;
  size_t n_written = 0;
  for (size_t i = 0; i < memory.size(); ++i) {
    const bool in_use = i / stride % tokens_max < n_tokens && i % stride < n;
    if (in_use)
      used.push_back(memory[i]);
    else
      n_written += !std::isnan(memory[i]);
  }
  CHECK_MESSAGE(n_written == 0, "written outside the tokens' rows");
  return used;
}

std::vector<float> Planes::spread(std::span<const float> values) const {
  const size_t stride = kernels::act_stride(n);
  REQUIRE(values.size() == size_t(n_planes) * n_tokens * n);
  std::vector<float> memory(n_planes * tokens_max * stride, NAN);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / n, plane = row / n_tokens, token = row % n_tokens;
    memory[(plane * tokens_max + token) * stride + i % n] = values[i];
  }
  return memory;
}

std::vector<float> tokens_of(std::span<const float> values, const Planes& planes, uint32_t first, uint32_t count) {
  std::vector<float> result;
  for (uint32_t plane = 0; plane < planes.n_planes; ++plane) {
    const auto begin = values.begin() + (size_t(plane) * planes.n_tokens + first) * planes.n;
    result.insert(result.end(), begin, begin + size_t(count) * planes.n);
  }
  return result;
}

std::vector<std::vector<uint32_t>> splits_of(uint32_t n) {
  std::vector<std::vector<uint32_t>> splits;
  for (const uint32_t first : {1u, n / 2, 255u, 256u, n - 1}) {
    if (first > 0 && first < n) splits.push_back({first, n - first});
  }
  if (n > 10) splits.push_back({3, 0, 4, n - 7});
  return splits;
}

bool same(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace ravenwing::test
