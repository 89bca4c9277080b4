// A bound on what a piece of code may allocate. The program that links it has a counting operator new.
#pragma once

#include <cstddef>

namespace ravenwing::test {

/// While it lives, memory allocated beyond `n_bytes` (frees counted back) throws std::bad_alloc. Not nested, one
/// thread.
class AllocationLimit {
 public:
  explicit AllocationLimit(size_t n_bytes);
  ~AllocationLimit();
  AllocationLimit(const AllocationLimit&) = delete;
  AllocationLimit& operator=(const AllocationLimit&) = delete;
};

}  // namespace ravenwing::test
