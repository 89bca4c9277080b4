// How a malformed model file is refused: quickly, with an Error, and without much memory. For programs that link
// allocation_limit.cpp.
#pragma once

#include <doctest/doctest.h>

#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "model/rwkv7_tensors.hpp"
#include "support/allocation_limit.hpp"
#include "support/files.hpp"

namespace ravenwing::test {

struct Refusal {
  std::optional<ErrorCode> code;  // nothing: the file was accepted
  std::string message;
};

#ifdef __SANITIZE_ADDRESS__
inline constexpr double kSecondsMax = 4;  // the sanitizers' own slowness comes on top
#else
inline constexpr double kSecondsMax = 1;
#endif

enum class Reading { header, model };

inline Refusal refusal_of(const std::filesystem::path& path, uint64_t n_bytes, Reading reading,
                          MappedFile::Access access) {
  Refusal refusal;
  const std::clock_t begin = std::clock();  // of the processor: a busy machine is no fault of the reader
  try {
    const AllocationLimit limit(n_bytes + (64u << 20));
    const format::ModelFile file = format::ModelFile::open(path, access);
    if (reading == Reading::model) rwkv7::read_model_source(file);
  } catch (const Error& error) {
    refusal = {error.code(), error.what()};
    CHECK(refusal.message.find(path.string()) != std::string::npos);
  }
  CHECK(double(std::clock() - begin) / CLOCKS_PER_SEC < kSecondsMax);
  return refusal;
}

/// Opens a file of these bytes (and reads the model's tensors, if asked to) under the limits that every file is held
/// to: its size + 64 MB of memory, one second. Once mapped and once read, which must come to the same.
inline Refusal refusal_of(const std::vector<std::byte>& bytes, Reading reading = Reading::header) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "model";
  write_file(path, bytes);
  const Refusal mapped = refusal_of(path, bytes.size(), reading, MappedFile::Access::mapped);
  const Refusal read = refusal_of(path, bytes.size(), reading, MappedFile::Access::read);
  CHECK(read.code == mapped.code);
  CHECK(read.message == mapped.message);
  return read;
}

/// Checks that the bytes are refused, and that the message has every one of these parts.
inline void check_refused(const std::vector<std::byte>& bytes, const std::vector<std::string>& parts,
                          Reading reading = Reading::header, ErrorCode code = ErrorCode::bad_file) {
  const Refusal refusal = refusal_of(bytes, reading);
  CAPTURE(refusal.message);
  REQUIRE_MESSAGE(refusal.code.has_value(), "accepted, but should say: ", parts.front());
  CHECK(*refusal.code == code);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(refusal.message.find(part) != std::string::npos);
  }
}

inline void check_accepted(const std::vector<std::byte>& bytes, Reading reading = Reading::header) {
  const Refusal refusal = refusal_of(bytes, reading);
  CHECK_MESSAGE(!refusal.code.has_value(), refusal.message);
}

}  // namespace ravenwing::test
