// apps/energy.cpp against a management library and a folder of sensors that are made up.
#include "../../apps/energy.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <thread>

#include "support/files.hpp"

using namespace ravenwing;
using namespace ravenwing::apps;
using test::TemporaryFolder;

namespace {

DeviceInfo device(const char* name, uint32_t vendor_id = 0, uint32_t device_id = 0) {
  DeviceInfo info;
  info.name = name;
  info.vendor_id = vendor_id;
  info.device_id = device_id;
  return info;
}

void write_text(const std::filesystem::path& path, const char* text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text << '\n';
}

/// A card as amdgpu shows it, drawing 40 W.
void write_card(const std::filesystem::path& sysfs, const char* name) {
  const std::filesystem::path folder = sysfs / "class/drm" / name / "device";
  write_text(folder / "vendor", "0x1002");
  write_text(folder / "device", "0x744c");
  write_text(folder / "hwmon/hwmon3/power1_average", "40000000");
}

}  // namespace

TEST_SUITE("energy") {
  TEST_CASE("NVML: millijoules of the one GPU of that name") {
    const EnergySources sources{.nvml = FAKE_NVML, .sysfs = "/nonexistent"};
    auto meter = EnergyMeter::open(device("Fake B"), sources);
    REQUIRE(meter);
    const double before = meter->joules();
    CHECK(meter->joules() - before == doctest::Approx(250));
    CHECK(!EnergyMeter::open(device("Fake C"), sources));
    CHECK_MESSAGE(!EnergyMeter::open(device("Fake A"), sources), "there are two, and no telling which");
  }

  TEST_CASE("hwmon: watts over time") {
    const TemporaryFolder folder;
    const EnergySources sources{.nvml = "no-such-library.so", .sysfs = folder.path()};
    CHECK(!EnergyMeter::open(device("AMD", 0x1002, 0x744c), sources));
    write_card(folder.path(), "card1");
    write_card(folder.path(), "card1-DP-1");  // a plug
    CHECK(!EnergyMeter::open(device("AMD", 0x1002, 0x744d), sources));
    auto meter = EnergyMeter::open(device("AMD", 0x1002, 0x744c), sources);
    REQUIRE(meter);
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    const double before = meter->joules();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const double joules = meter->joules() - before;
    const double seconds_at_most = std::chrono::duration<double>(Clock::now() - begin).count();
    CHECK(joules >= 40 * 0.05 * 0.999);
    CHECK(joules <= 40 * seconds_at_most);
    write_card(folder.path(), "card2");
    CHECK(!EnergyMeter::open(device("AMD", 0x1002, 0x744c), sources));
  }
}
