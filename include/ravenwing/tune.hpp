// Measuring which kernels are fastest on a device, for the starts that follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "ravenwing/device_info.hpp"

#pragma GCC visibility push(default)  // what the shared library shows
namespace ravenwing {

/// One way of computing something, timed.
struct TuneReading {
  std::string subject;         // "product:Q4_K:7680x2560:32": format, rows x inputs, columns
  std::string candidate;       // "default", "tile:4/2/1/2/4/64"
  double us = 0;               // the median of several
  std::string rejected;        // why it is none to choose, "": it may be chosen
  size_t done = 0, total = 0;  // subjects
};

/// What was found for a subject.
struct TunedSubject {
  std::string subject;
  std::string choice;  // "default" where nothing is 3 % faster
  double default_us = 0, us = 0;
  std::string reason;  // why nothing could be measured, else ""
};

struct TuneOptions {
  std::filesystem::path model{};  // whose matrices are measured
  std::string device{}, tier{};   // as in EngineOptions
  bool safe = false;              // keep WebGPU's checks of calls and indices
  bool pipeline_cache = true;
  bool quick = false;  // fewer sizes, and no chunk length, for which the model has to be loaded
  /// Sizes of steps, powers of two; none: 1 to 512.
  std::vector<uint32_t> columns{};
  std::string only{};  // measure the subjects alone that begin so
  std::function<void(const TuneReading&)> on_reading{};
  const std::atomic<bool>* cancel = nullptr;  // once true, tune() returns what it has found so far
};

struct TuneReport {
  DeviceInfo device;
  std::filesystem::path file;  // where it was written; "": there is no folder to keep it in
  std::vector<TunedSubject> subjects;
  bool cancelled = false;
};

/// Times the kernels that a model takes, in every way the device has, and writes down which are fastest: engines on
/// this device with this driver take those from their next start on. A way whose numbers are not those of the reference
/// kernel is never chosen. Throws as Engine does.
TuneReport tune(const TuneOptions& options);

}  // namespace ravenwing
#pragma GCC visibility pop
