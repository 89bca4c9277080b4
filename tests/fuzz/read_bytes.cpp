// tests/fuzz/read_bytes.cpp: a file in memory, opened the way users' files are.
#include "fuzz/read_bytes.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "base/error.hpp"
#include "model/rwkv7_tensors.hpp"

namespace ravenwing::fuzz {
namespace {

/// An anonymous file that has a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) { RAVENWING_CHECK(descriptor_ >= 0); }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void append(const void* data, size_t n) {
    if (n > 0) RAVENWING_CHECK(::write(descriptor_, data, n) == ssize_t(n));
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

void decode_first_row(const rwkv7::MatrixSource& matrix) {
  if (!matrix) return;
  std::vector<float> row(matrix.n_in);
  matrix.decode_rows(0, 1, row.data());
  matrix.decode_rows(matrix.n_out - 1, matrix.n_out, row.data());
}

void decode_some(const rwkv7::ModelSource& source) {
  decode_first_row(source.emb);
  decode_first_row(source.head);
  for (const rwkv7::LayerSource& layer : source.layers) {
    for (const rwkv7::LowRankSource* pair : {&layer.w, &layer.a, &layer.v, &layer.g}) {
      decode_first_row(pair->down);
      decode_first_row(pair->up);
    }
    for (const rwkv7::MatrixSource* matrix :
         {&layer.receptance, &layer.key, &layer.value, &layer.output, &layer.ffn_key, &layer.ffn_value}) {
      decode_first_row(*matrix);
    }
  }
}

}  // namespace

bool read_bytes(std::string_view prefix, std::span<const uint8_t> bytes) {
  MemoryFile memory;
  memory.append(prefix.data(), prefix.size());
  memory.append(bytes.data(), bytes.size());
  try {
    const format::ModelFile file = format::ModelFile::open(memory.path());
    decode_some(rwkv7::read_model_source(file));
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace ravenwing::fuzz
