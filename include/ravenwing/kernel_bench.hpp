// How fast single kernels run on the shapes of real models: random weights, no model file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ravenwing/device_info.hpp"
#include "ravenwing/profile.hpp"
#include "ravenwing/state_storage.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

struct KernelBenchOptions {
  std::string device{}, tier{};  // as in EngineOptions, but no tier is tested
  bool safe = false;             // keep WebGPU's checks of calls and indices
  bool pipeline_cache = true;
  StateStorage state_storage = StateStorage::f32;        // of time_mix
  std::vector<std::string> shapes = {"2.9b"};            // SyntheticModel's
  std::vector<std::string> formats = {"F16", "Q4_K"};    // as in GGUF, in either case
  std::vector<std::string> families{};                   // kernel_families(); none: all
  std::vector<uint32_t> columns = {1, 8, 32, 128, 512};  // tokens of a step, at most kColumnsMax
  /// ROWS+ROWS+...xINPUTS: groups of matrices of your own to multiply by, instead of all else.
  std::vector<std::string> matrices{};
  /// For matmul on T2: SUBGROUPS_M/SUBGROUPS_N/SUBGROUPS_K/TILES_M/TILES_N/DEPTH[/SETS[/PARTS]] of
  /// matmul_tile.wgsl, PARTS of products that are added to what is there; "" or none: what it chooses by itself.
  std::vector<std::string> tiles{};
  const std::atomic<bool>* cancel = nullptr;  // looked at between readings; once true, run() throws Error{cancelled}

  static constexpr uint32_t kColumnsMax = 4096;
};

struct KernelReading {
  std::string family;  // "matmul"
  std::string kernel;  // "time_mix.r_k_v", as in profiles
  std::string shape, format, tile;
  uint32_t n_sequences = 1, n_tokens = 1;  // of each
  uint64_t bytes = 0, flops = 0;           // as in ProfiledDispatch
  std::optional<double> us;                // in a chain of its like, each of which waits for the one before
  std::string reason;                      // why there is no time
};

/// Those there are: "matmul", "time_mix" and so on; "F32", "F16" and so on.
std::vector<std::string> kernel_families();
std::vector<std::string> kernel_formats();

/// A device on which kernels are timed, alone. Weights are in GPU memory only, more than its caches hold.
class KernelBench {
 public:
  /// Opens the device and measures its limits. Throws Error{bad_request} with the names there are, and as Engine does.
  explicit KernelBench(const KernelBenchOptions& options);
  ~KernelBench();
  KernelBench(const KernelBench&) = delete;
  KernelBench& operator=(const KernelBench&) = delete;

  const DeviceInfo& device() const;
  const MeasuredLimits& limits() const;
  size_t n_readings() const;
  /// Every family on every shape, by every format where it reads weights, and for all columns. What does not fit the
  /// device is a reading with a reason.
  void run(const std::function<void(const KernelReading&)>& visit);

  struct [[gnu::visibility("hidden")]] Impl;  // the library's own

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace ravenwing
#pragma GCC visibility pop
