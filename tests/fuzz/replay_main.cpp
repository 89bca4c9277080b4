// tests/fuzz/replay_main.cpp: the fuzzers' work without clang. Spoils valid models in a fixed random order, so that a
// build with GCC's sanitizers sees thousands of damaged files in seconds; or replays files named on the command line.
//   fuzz_smoke [--mutations N] [--seed N] [FILE...]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "fuzz/read_model.hpp"
#include "support/files.hpp"
#include "support/random_model.hpp"

using namespace ravenwing;

namespace {

constexpr uint64_t kEdgeValues[] = {0,
                                    1,
                                    2,
                                    0x7f,
                                    0xff,
                                    0x7fff,
                                    0xffff,
                                    0x7fffffff,
                                    0x80000000,
                                    0xffffffff,
                                    0x100000000,
                                    uint64_t(1) << 62,
                                    uint64_t(1) << 63,
                                    ~uint64_t(0)};

using File = std::vector<std::byte>;

/// Damages files: mostly in their first part, where the structure lies.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  File damaged(const File& whole, const File& other) {
    File file = whole;
    const size_t n_steps = 1 + below(4);
    for (size_t i = 0; i < n_steps && !file.empty(); ++i) step(file, other);
    return file;
  }

 private:
  size_t below(size_t limit) { return size_t(random_() % limit); }

  size_t place(const File& file) {
    const bool in_header = below(4) != 0;
    return below(in_header ? std::min<size_t>(file.size(), 1 + file.size() / 2) : file.size());
  }

  void step(File& file, const File& other) {
    const size_t at = place(file);
    const size_t n = std::min(file.size() - at, 1 + below(64));
    const auto begin = file.begin() + std::ptrdiff_t(at);
    switch (below(7)) {
      case 0:
        file[at] ^= std::byte(1u << below(8));
        return;
      case 1:
        file[at] = std::byte(below(256));
        return;
      case 2:
        overwrite(file, at);
        return;
      case 3:
        file.erase(begin, begin + std::ptrdiff_t(n));
        return;
      case 4:
        file.insert(begin, n, std::byte(below(256)));
        return;
      case 5:
        file.resize(at);
        return;
      default: {
        const size_t from = below(other.size());
        const size_t length = std::min({n, other.size() - from});
        std::copy_n(other.begin() + std::ptrdiff_t(from), length, begin);
      }
    }
  }

  /// A number that readers get wrong, in place of what was there.
  void overwrite(File& file, size_t at) {
    const uint64_t value = kEdgeValues[below(std::size(kEdgeValues))];
    const size_t width = size_t(1) << below(4);
    std::memcpy(file.data() + at, &value, std::min(width, file.size() - at));
  }

  std::mt19937 random_;
};

bool read(const File& file) {
  return fuzz::read_model({"", {reinterpret_cast<const uint8_t*>(file.data()), file.size()}});
}

int run_mutations(size_t n_mutations, uint32_t seed) {
  const File seeds[] = {test::random_gguf(test::smallest_model()).bytes(),
                        test::random_safetensors(test::smallest_model()).bytes()};
  for (const File& file : seeds) {
    if (!read(file)) return fmt::print("a valid model was refused\n"), EXIT_FAILURE;
  }
  Mutator mutator(seed);
  size_t n_accepted = 0;
  for (size_t i = 0; i < n_mutations; ++i) n_accepted += read(mutator.damaged(seeds[i % 2], seeds[i / 2 % 2]));
  fmt::print("{} damaged files: {} refused, {} accepted\n", n_mutations, n_mutations - n_accepted, n_accepted);
  // A mutator whose files were all refused, or all accepted, would test nothing.
  return n_accepted > 0 && n_accepted < n_mutations / 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  size_t n_mutations = 20'000;
  uint32_t seed = 7;
  bool replayed = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--mutations" && i + 1 < argc)
      n_mutations = std::strtoull(argv[++i], nullptr, 10);
    else if (argument == "--seed" && i + 1 < argc)
      seed = uint32_t(std::strtoul(argv[++i], nullptr, 10));
    else
      fmt::print("{}: {}\n", argument, read(test::read_file(argument)) ? "accepted" : "refused"), replayed = true;
  }
  return replayed ? EXIT_SUCCESS : run_mutations(n_mutations, seed);
}
