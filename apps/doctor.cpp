// ravenwing doctor: a paragraph to paste into a bug report.
#include <CLI/CLI.hpp>

#include "build_info.hpp"
#include "command.hpp"
#include "system_info.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

struct DoctorFlags {
  std::string device, model;
};

/// One line for each tier. False if one of them went wrong.
bool run_self_tests(const DoctorFlags& flags) {
  bool all_passed = true;
  for (const char* tier : {"T0", "T1", "T2"}) {
    check_interrupted();
    try {
      write_out(fmt::format("Self-test passed: {}\n", printable(self_test(flags.device, tier, flags.model))));
    } catch (const Error& error) {
      // The adapter does not reach the tier, which is no fault.
      const bool passed_over = error.code() == ErrorCode::bad_request;
      if (error.code() == ErrorCode::no_device) throw;
      all_passed = all_passed && passed_over;
      write_out(
          fmt::format("Self-test {}: {} {}\n", passed_over ? "left out" : "FAILED", tier, printable(error.what())));
    }
  }
  return all_passed;
}

void run(const DoctorFlags& flags) {
  write_out(version_text());
  write_out(fmt::format("System: {}\n", operating_system()));
  write_out(fmt::format("Vulkan loader: {}\n", vulkan_loader()));
  write_out(fmt::format("WebGPU library: {}\n", webgpu_library()));
  const std::vector<DeviceInfo> devices = list_devices();
  for (size_t i = 0; i < devices.size(); ++i) write_out("Adapter " + describe(i, devices[i]));
  if (devices.empty()) fail(ErrorCode::no_device, kNoDevice);
  if (!run_self_tests(flags)) fail(ErrorCode::unsupported, "the self-test failed");
}

}  // namespace

void add_doctor(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("doctor", "describe driver, adapters and library for a bug report, and test them");
  auto flags = std::make_shared<DoctorFlags>();
  command
      ->add_option("-m,--model", flags->model, "test the kernels that this model takes; the demo model's if left out")
      ->type_name("FILE");
  add_device_flag(*command, flags->device);
  command->footer("Example:\n  ravenwing doctor > report.txt");
  command->callback([flags] { run(*flags); });
}

}  // namespace ravenwing::apps
