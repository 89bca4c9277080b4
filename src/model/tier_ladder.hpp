// Choosing the tier that an engine runs at: the adapter's best whose kernels are right.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "gpu/adapters.hpp"
#include "gpu/shader.hpp"
#include "kernels/matmul.hpp"
#include "kernels/token.hpp"
#include "model/rwkv7_tensors.hpp"
#include "model/verdicts.hpp"
#include "ravenwing/engine.hpp"

namespace ravenwing {

kernels::MatMulMode mode_of(const EngineOptions& options);

/// Whether WebGPU checks calls and indices on a device even where kernels are known to be right: on software, and where
/// the caller or RAVENWING_VALIDATE wants it.
bool keeps_checks(const DeviceInfo& device, bool safe);

/// Whether an engine takes what was tuned: RAVENWING_TUNING `never` does without, as the option.
bool uses_tuning(const EngineOptions& options);

/// Whether a device is tuned while it is idle: software only where RAVENWING_TUNING is `always`.
bool tunes_in_background(const DeviceInfo& device);
/// For how long it must have been idle; less where RAVENWING_TUNING is `always`.
std::chrono::milliseconds quiet_before_tuning();

/// Where compiled shaders are kept; "": nowhere.
std::filesystem::path pipeline_folder(bool wanted);

/// Tests a tier before it is used (model/self_test.hpp) and takes the next lower one where that fails. A verdict holds
/// for an adapter, its driver, the WebGPU library, this build, the shaders and the model's weight formats, and is kept
/// in the user's cache folder. Software adapters are not tested unless RAVENWING_SELF_TEST is `always`: their shaders
/// take a minute, and a CPU is right more often than a GPU's driver. `never` tests none. A tier that was asked for is
/// not tested.
class TierLadder {
 public:
  /// Both must outlive it.
  TierLadder(const rwkv7::ModelSource& source, const EngineOptions& options);

  /// A device at the best tier that is left. It goes without WebGPU's checks if it is a GPU, was tested and may
  /// (EngineOptions::safe, RAVENWING_VALIDATE). Throws Error{unsupported} where every tier is wrong.
  std::unique_ptr<gpu::Device> open();
  /// How steps of one token run on the device last opened: whole where that was tested and found right, else stage by
  /// stage where that was. Software is faster without.
  kernels::TokenUse token_use(const DeviceInfo& device);
  /// The tier last opened is no good after all. Throws Error{unsupported} where there is no lower one to take.
  void step_down(const gpu::CompileError& error);
  /// Tests the tier that was asked for, else the adapter's best, whatever is known of it. Throws Error{unsupported}
  /// where it is wrong.
  void retest();

 private:
  void step_down(const std::string& reason);
  /// Whether a device that passed its test would still be checked.
  bool validates(const DeviceInfo& device) const { return keeps_checks(device, options_.safe); }
  Verdicts& verdicts(const DeviceInfo& device);
  Verdict judge(const DeviceInfo& device, kernels::TokenUse token = kernels::TokenUse::none);
  Verdict test(const DeviceInfo& device, kernels::TokenUse token);
  /// Runs a test whose end is a verdict, marked as begun before.
  Verdict test_and_note(const DeviceInfo& device, kernels::TokenUse token);
  /// Of the tier in question, in the file of verdicts: "T1-fast-checked", as other shaders make for other verdicts.
  std::string subject(const DeviceInfo& device, kernels::TokenUse token) const;
  gpu::DeviceOptions device_options() const;

  const rwkv7::ModelSource& source_;
  const EngineOptions& options_;
  std::optional<gpu::Tier> asked_;
  std::optional<gpu::Tier> tier_;  // in question
  std::string fallen_;             // why it is not the best
  std::optional<Verdicts> verdicts_;
};

}  // namespace ravenwing
