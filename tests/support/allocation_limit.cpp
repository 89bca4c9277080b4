// tests/support/allocation_limit.cpp: operator new and delete that keep account of the live bytes.
#include "support/allocation_limit.hpp"

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

std::atomic<int64_t> live_bytes = 0;
std::atomic<int64_t> live_bytes_max = kNoLimit;

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  live_bytes += int64_t(malloc_usable_size(memory));
  return memory;
}

/// Asked before the memory is taken, so that an absurd size fails here and not in the allocator.
void check_limit(size_t n_bytes) {
  const int64_t limit = live_bytes_max;
  if (limit == kNoLimit) return;
  if (n_bytes > size_t(limit) || live_bytes + int64_t(n_bytes) > limit) throw std::bad_alloc();
}

void uncounted_free(void* memory) {
  if (memory == nullptr) return;
  live_bytes -= int64_t(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

void* operator new(size_t n_bytes) {
  check_limit(n_bytes);
  return counted(std::malloc(n_bytes == 0 ? 1 : n_bytes));
}

// std::stable_sort asks so for its buffer; left to the sanitizers, it would not match the delete below.
void* operator new(size_t n_bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(n_bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void* operator new(size_t n_bytes, std::align_val_t alignment) {
  check_limit(n_bytes);
  const auto unit = size_t(alignment);
  return counted(std::aligned_alloc(unit, (n_bytes + unit - 1) / unit * unit));
}

void operator delete(void* memory) noexcept { uncounted_free(memory); }
void operator delete(void* memory, size_t) noexcept { uncounted_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { uncounted_free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { uncounted_free(memory); }

namespace ravenwing::test {

AllocationLimit::AllocationLimit(size_t n_bytes) { live_bytes_max = live_bytes + int64_t(n_bytes); }
AllocationLimit::~AllocationLimit() { live_bytes_max = kNoLimit; }

}  // namespace ravenwing::test
