// What drivers compile, kept in files from one start of the program to the next.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace ravenwing::gpu {

/// A folder of entries, one file each, named by the hash of its key. An entry is handed out only if its length, its
/// key and its checksum are right, since a driver believes what it is given; one that is not is removed. Whatever the
/// file system refuses is as if the cache were empty. For any thread, and for any number of processes at once.
class BlobCache {
 public:
  static constexpr uint64_t kDefaultBytesMax = 256 << 20;

  /// Makes the folder if need be. Beyond `bytes_max` the entries that were not used for longest are removed.
  explicit BlobCache(std::filesystem::path folder, uint64_t bytes_max = kDefaultBytesMax);

  /// The entry's size, 0 if there is none; copied to `value` if that has this size. Dawn asks for the size first, on
  /// the same thread: what was read for it is kept for the second call.
  size_t load(std::span<const std::byte> key, std::span<std::byte> value);
  void store(std::span<const std::byte> key, std::span<const std::byte> value);

  /// Entries that were found, that were not, and those among the latter that were there but damaged.
  struct Counts {
    uint64_t hits = 0, misses = 0, damaged = 0;
  };
  Counts counts() const { return {hits_, misses_, damaged_}; }

 private:
  struct Asked {
    std::string name;
    std::vector<std::byte> value;
  };

  std::optional<std::vector<std::byte>> read(const std::string& name, std::span<const std::byte> key);
  void drop_oldest();

  std::filesystem::path folder_;
  uint64_t bytes_max_;
  std::atomic<uint64_t> hits_ = 0, misses_ = 0, damaged_ = 0;
  std::mutex mutex_;
  std::map<std::thread::id, Asked> asked_;  // under mutex_
  std::optional<uint64_t> bytes_;           // in the folder, once known; under mutex_
};

}  // namespace ravenwing::gpu
