// NVIDIA's management library as far as apps/energy.cpp takes it: "Fake A" twice, "Fake B" once, which draws 250 J
// between two looks.
#include <cstdio>

extern "C" {
[[gnu::visibility("default")]] int nvmlInit_v2() { return 0; }
[[gnu::visibility("default")]] int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 3;
  return 0;
}
[[gnu::visibility("default")]] int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  static char names[][8] = {"Fake A", "Fake B", "Fake A"};
  *device = names[index];
  return 0;
}
[[gnu::visibility("default")]] int nvmlDeviceGetName(void* device, char* name, unsigned size) {
  std::snprintf(name, size, "%s", static_cast<const char*>(device));
  return 0;
}
[[gnu::visibility("default")]] int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
  static unsigned long long total = 7'000'000;
  *millijoules = total += 250'000;
  return 0;
}
}
