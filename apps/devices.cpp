// ravenwing devices: the adapters of this machine.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

std::string to_json(const std::vector<DeviceInfo>& devices) {
  auto json = nlohmann::ordered_json::array();
  for (size_t i = 0; i < devices.size(); ++i) {
    const DeviceInfo& device = devices[i];
    json.push_back({{"index", i},
                    {"name", device.name},
                    {"driver", device.driver},
                    {"vendor", device.vendor},
                    {"backend", device.backend},
                    {"type", device.type},
                    {"software", device.software},
                    {"tier", device.tier},
                    {"vendor_id", device.vendor_id},
                    {"device_id", device.device_id},
                    {"limits",
                     {{"subgroup_size_min", device.subgroup_size_min},
                      {"subgroup_size_max", device.subgroup_size_max},
                      {"buffer_bytes_max", device.limits.buffer_bytes_max},
                      {"binding_bytes_max", device.limits.binding_bytes_max},
                      {"binding_alignment", device.limits.binding_alignment},
                      {"workgroups_per_dimension_max", device.limits.workgroups_per_dimension_max},
                      {"invocations_per_workgroup_max", device.limits.invocations_per_workgroup_max},
                      {"workgroup_storage_bytes_max", device.limits.workgroup_storage_bytes_max},
                      {"storage_buffers_per_stage_max", device.limits.storage_buffers_per_stage_max}}},
                    {"features", device.features}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

struct DevicesFlags {
  bool json = false;
};

void run(const DevicesFlags& flags) {
  const std::vector<DeviceInfo> devices = list_devices();
  if (flags.json) write_out(to_json(devices));
  for (size_t i = 0; !flags.json && i < devices.size(); ++i) write_out(describe(i, devices[i]));
  if (devices.empty()) fail(ErrorCode::no_device, kNoDevice);
}

}  // namespace

std::string describe(size_t index, const DeviceInfo& device) {
  return fmt::format(
      "{}: {} ({}), tier {}\n"
      "   driver    {}; {}; vendor {} {:04x}:{:04x}\n"
      "   limits    buffer {} MiB, binding {} MiB aligned to {}, workgroup of {} with {} KiB, {} workgroups a "
      "dimension,\n"
      "             {} storage buffers, subgroups of {} to {}\n"
      "   features  {}\n",
      index, printable(device.name), device.type, device.tier, printable(device.driver), device.backend,
      printable(device.vendor), device.vendor_id, device.device_id, device.limits.buffer_bytes_max >> 20,
      device.limits.binding_bytes_max >> 20, device.limits.binding_alignment,
      device.limits.invocations_per_workgroup_max, device.limits.workgroup_storage_bytes_max >> 10,
      device.limits.workgroups_per_dimension_max, device.limits.storage_buffers_per_stage_max, device.subgroup_size_min,
      device.subgroup_size_max, device.features.empty() ? "none" : fmt::format("{}", fmt::join(device.features, ", ")));
}

void add_devices(CLI::App& program) {
  CLI::App* command = program.add_subcommand("devices", "list the adapters of this machine");
  auto flags = std::make_shared<DevicesFlags>();
  command->add_flag("--json", flags->json, "a JSON array");
  command->footer("Example:\n  ravenwing devices\n  ravenwing generate --device 0 -p \"Hello\"");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
