// src/gpu/blob_cache.cpp: an entry is a head of fixed size, the key, the value.
#include "gpu/blob_cache.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/mmap.hpp"

namespace ravenwing::gpu {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'R', 'A', 'V', 'E', 'N', 'B', 'L', '1'};
constexpr size_t kNameLength = 32;
/// A file that a killed process left half written is old after this.
constexpr std::chrono::hours kLeftOver{1};

struct Head {
  char magic[8];
  uint64_t key_bytes, value_bytes, checksum;
};
static_assert(sizeof(Head) == 32);

Head head_of(std::span<const std::byte> key, std::span<const std::byte> value) {
  Head head{{}, key.size(), value.size(), 0};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  head.checksum = XXH3_64bits_withSeed(value.data(), value.size(), XXH3_64bits(key.data(), key.size()));
  return head;
}

std::string name_of(std::span<const std::byte> key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

struct Entry {
  fs::path path;
  uint64_t bytes;
  fs::file_time_type used;
};

/// The cache's own files in a folder; others are never touched.
std::vector<Entry> entries_of(const fs::path& folder) {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool own = name.size() >= kNameLength && name.find_first_not_of("0123456789abcdef") >= kNameLength &&
                     (name.size() == kNameLength || name.compare(kNameLength, 5, ".tmp-") == 0);
    std::error_code gone;  // another process may remove it meanwhile
    if (!own || !at->is_regular_file(gone)) continue;
    const uint64_t bytes = at->file_size(gone);
    const fs::file_time_type used = gone ? fs::file_time_type{} : at->last_write_time(gone);
    if (!gone) entries.push_back({at->path(), bytes, used});
  }
  return entries;
}

}  // namespace

BlobCache::BlobCache(fs::path folder, uint64_t bytes_max) : folder_(std::move(folder)), bytes_max_(bytes_max) {
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
}

size_t BlobCache::load(std::span<const std::byte> key, std::span<std::byte> value) {
  const std::string name = name_of(key);
  std::optional<std::vector<std::byte>> found;
  {
    const std::lock_guard lock(mutex_);
    const auto asked = asked_.find(std::this_thread::get_id());
    if (asked != asked_.end()) {
      if (asked->second.name == name) found = std::move(asked->second.value);
      asked_.erase(asked);
    }
  }
  const bool asked_before = found.has_value();
  if (!asked_before) found = read(name, key);
  if (!found) {
    ++misses_;
    return 0;
  }
  const size_t size = found->size();
  if (!asked_before) ++hits_;
  if (value.size() == size) {
    std::memcpy(value.data(), found->data(), size);
  } else {
    const std::lock_guard lock(mutex_);
    asked_[std::this_thread::get_id()] = {name, std::move(*found)};
  }
  return size;
}

std::optional<std::vector<std::byte>> BlobCache::read(const std::string& name, std::span<const std::byte> key) {
  const fs::path path = folder_ / name;
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  bool good = false;
  std::vector<std::byte> value;
  try {
    const MappedFile file(path, MappedFile::Access::read);
    Head head;
    std::vector<std::byte> stored_key(key.size());
    good = file.size() <= bytes_max_ && file.read(0, &head, sizeof(head)) && head.key_bytes == key.size() &&
           head.value_bytes > 0 && head.value_bytes == file.size() - std::min(file.size(), sizeof(head) + key.size()) &&
           file.read(sizeof(head), stored_key.data(), key.size()) && std::ranges::equal(stored_key, key);
    if (good) {
      value.resize(size_t(head.value_bytes));
      const bool whole = file.read(sizeof(head) + key.size(), value.data(), value.size());
      const Head expected = head_of(key, value);
      good = whole && std::memcmp(&head, &expected, sizeof(head)) == 0;
    }
  } catch (const Error&) {
    return std::nullopt;  // gone meanwhile, or not to be read
  }
  if (!good) {
    ++damaged_;
    fs::remove(path, error);
    return std::nullopt;
  }
  fs::last_write_time(path, fs::file_time_type::clock::now(), error);
  return value;
}

void BlobCache::store(std::span<const std::byte> key, std::span<const std::byte> value) {
  const uint64_t bytes = sizeof(Head) + key.size() + value.size();
  if (value.empty() || bytes > bytes_max_) return;
  const Head head = head_of(key, value);
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(&head, 1)), key, value};
  try {
    // No flush: what a crash leaves half written is found by its checksum.
    write_file_atomically(folder_ / name_of(key), parts, Flush::no);
  } catch (const Error&) {
    return;
  }
  const std::lock_guard lock(mutex_);
  if (bytes_) *bytes_ += bytes;
  if (!bytes_ || *bytes_ > bytes_max_) drop_oldest();
}

/// Counts what the folder holds, and makes room for a while where it is too much.
void BlobCache::drop_oldest() {
  std::vector<Entry> entries = entries_of(folder_);
  std::ranges::sort(entries, {}, &Entry::used);
  bytes_ = 0;
  for (const Entry& entry : entries) *bytes_ += entry.bytes;
  const bool too_much = *bytes_ > bytes_max_;
  const auto now = fs::file_time_type::clock::now();
  for (const Entry& entry : entries) {
    const bool is_entry = entry.path.filename().native().size() == kNameLength;
    const bool drop = is_entry ? too_much && *bytes_ > bytes_max_ / 4 * 3 : now - entry.used > kLeftOver;
    std::error_code error;
    if (drop && fs::remove(entry.path, error)) *bytes_ -= entry.bytes;
  }
}

}  // namespace ravenwing::gpu
