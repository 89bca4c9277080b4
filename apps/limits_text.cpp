// apps/limits_text.cpp
#include "limits_text.hpp"

#include <fmt/format.h>

#include "terminal.hpp"

namespace ravenwing::apps {

std::optional<MeasuredLimits> limits_of(Engine& engine) {
  try {
    return engine.measure_limits();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported && error.code() != ErrorCode::out_of_memory) throw;
    write_message("warning: the limits of the device are left out: {}", error.what());
    return std::nullopt;
  }
}

std::string limits_text(const std::optional<MeasuredLimits>& limits) {
  if (!limits) return "";
  return fmt::format(
      "Limits of the device, measured: reads {:.1f} GB/s, copies {:.1f} GB/s, multiplies {:.3g} TFLOP/s, an empty "
      "dispatch {:.2f} us\n",
      limits->read_bytes_s / 1e9, limits->copy_bytes_s / 1e9, limits->flops_s / 1e12, limits->dispatch_us);
}

nlohmann::ordered_json limits_json(const std::optional<MeasuredLimits>& limits) {
  if (!limits) return nullptr;
  return {{"read_bytes_s", limits->read_bytes_s},
          {"copy_bytes_s", limits->copy_bytes_s},
          {"flops_s", limits->flops_s},
          {"dispatch_us", limits->dispatch_us},
          {"stream_bytes", limits->stream_bytes}};
}

std::string rate(uint64_t amount, double us, double unit) {
  return amount == 0 || us <= 0 ? std::string("-") : fmt::format("{:.1f}", double(amount) / us * 1e6 / unit);
}

}  // namespace ravenwing::apps
