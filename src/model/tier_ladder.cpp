// src/model/tier_ladder.cpp: what is tested when, and what a verdict holds for.
#include "model/tier_ladder.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>

#include "base/resources.hpp"
#include "base/text.hpp"
#include "kernels/shaders.hpp"
#include "model/rwkv7_miniature.hpp"
#include "model/self_test.hpp"

namespace ravenwing {
namespace {

constexpr size_t kReasonMax = 300;  // bytes; compilers quote whole shaders

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// What a variable says, if it says anything.
std::optional<bool> always_or_never(const char* name) {
  const std::string wanted = variable(name);
  if (wanted == "always") return true;
  if (wanted == "never") return false;
  if (!wanted.empty()) fail(ErrorCode::bad_request, "{} is {}: must be always, never or empty", name, quoted(wanted));
  return std::nullopt;
}

bool tests(const DeviceInfo& device) { return always_or_never("RAVENWING_SELF_TEST").value_or(!device.software); }

Verdict bad(std::string_view what, std::string_view why) {
  return {Verdict::State::bad, fmt::format("{} ({})", what, why.substr(0, std::min(why.find('\n'), kReasonMax)))};
}

Verdict does_not_compile(const gpu::CompileError& error) { return bad("does not compile", error.what()); }

}  // namespace

kernels::MatMulMode mode_of(const EngineOptions& options) {
  return options.exact ? kernels::MatMulMode::exact : kernels::MatMulMode::fast;
}

bool keeps_checks(const DeviceInfo& device, bool safe) {
  const std::string wanted = variable("RAVENWING_VALIDATE");
  return device.software || safe || (!wanted.empty() && wanted != "0");
}

bool uses_tuning(const EngineOptions& options) {
  return !options.exact && options.tuning != TuningMode::off && always_or_never("RAVENWING_TUNING").value_or(true);
}

bool tunes_in_background(const DeviceInfo& device) {
  return always_or_never("RAVENWING_TUNING").value_or(!device.software);
}

std::chrono::milliseconds quiet_before_tuning() {
  return std::chrono::milliseconds(always_or_never("RAVENWING_TUNING") ? 100 : 2000);
}

std::filesystem::path pipeline_folder(bool wanted) {
  const auto folder = cache_folder();
  return folder && wanted ? *folder / "pipelines" : std::filesystem::path();
}

TierLadder::TierLadder(const rwkv7::ModelSource& source, const EngineOptions& options)
    : source_(source), options_(options) {
  if (options.tier.empty()) return;
  asked_ = gpu::tier_named(options.tier);
  if (!asked_) fail(ErrorCode::bad_request, "tier '{}' is none of T0, T1, T2", options.tier);
}

gpu::DeviceOptions TierLadder::device_options() const {
  return {.selector = options_.device,
          .tier = asked_ ? asked_ : tier_,
          .cache_folder = pipeline_folder(options_.pipeline_cache),
          .timestamps = options_.profiling};
}

std::unique_ptr<gpu::Device> TierLadder::open() {
  gpu::FoundAdapter found = gpu::choose_adapter(options_.device);
  if (!tier_) tier_ = found.tier;
  const bool tested = !asked_ && tests(found.info);
  while (tested) {
    const Verdict verdict = judge(found.info);
    if (verdict.state == Verdict::State::good) break;
    step_down(verdict.reason);
  }
  gpu::DeviceOptions device = device_options();
  device.validate = !tested || validates(found.info);
  if (!fallen_.empty()) device.fallback = fmt::format("{}: {} is used", fallen_, gpu::name(*tier_));
  return std::make_unique<gpu::Device>(std::move(found), device);
}

void TierLadder::step_down(const gpu::CompileError& error) {
  const std::string reason = does_not_compile(error).reason;
  if (asked_) fail(ErrorCode::unsupported, "[device] tier {} {}; take another with --tier", gpu::name(*asked_), reason);
  step_down(reason);
}

void TierLadder::step_down(const std::string& reason) {
  fallen_ += fmt::format("{}{} {}", fallen_.empty() ? "" : ", ", gpu::name(*tier_), reason);
  if (*tier_ == gpu::Tier::t0) {
    fail(ErrorCode::unsupported,
         "[device] no tier of this adapter can be used: {}; update the driver, or take another adapter with --device "
         "(`ravenwing devices` lists them, `ravenwing doctor -m FILE` tests again)",
         fallen_);
  }
  tier_ = gpu::Tier(uint8_t(*tier_) - 1);
}

Verdicts& TierLadder::verdicts(const DeviceInfo& device) {
  if (verdicts_) return *verdicts_;
  // One file for what a user has several of, a new one in its place when what it holds for has changed.
  const std::string kept = fmt::format("{} {:04x}:{:04x} {}; {}", device.name, device.vendor_id, device.device_id,
                                       device.backend, rwkv7::miniature_formats(source_));
  const std::string key =
      fmt::format("{}; driver {}; WebGPU {}; build {}; shaders {:016x}", kept, device.driver, gpu::library_id(),
                  binary_id(reinterpret_cast<const void*>(&tests)), kernels::shaders_hash());
  std::filesystem::path path;
  if (const auto folder = cache_folder())
    path = *folder / "self-test" / fmt::format("{:016x}", XXH3_64bits(kept.data(), kept.size()));
  return verdicts_.emplace(path, key);
}

std::string TierLadder::subject(const DeviceInfo& device, kernels::TokenUse token) const {
  constexpr std::string_view kOfToken[] = {"", "-token-stages", "-token-whole"};
  return fmt::format("{}-{}-{}{}{}", gpu::name(*tier_), options_.exact ? "exact" : "fast",
                     validates(device) ? "checked" : "unchecked", kOfToken[size_t(token)],
                     options_.state_storage == StateStorage::f16 ? "-f16-states" : "");
}

kernels::TokenUse TierLadder::token_use(const DeviceInfo& device) {
  using kernels::TokenUse;
  if (asked_ || options_.exact || device.software || !tests(device) || *tier_ == gpu::Tier::t0) return TokenUse::none;
  const auto is_good = [&](TokenUse use) { return judge(device, use).state == Verdict::State::good; };
  if (options_.persistent && is_good(TokenUse::whole)) return TokenUse::whole;
  return is_good(TokenUse::stages) ? TokenUse::stages : TokenUse::none;
}

Verdict TierLadder::judge(const DeviceInfo& device, kernels::TokenUse token) {
  Verdicts& known = verdicts(device);
  const std::string tested = subject(device, token);
  if (const auto verdict = known.find(tested); verdict && verdict->state != Verdict::State::testing) return *verdict;
  const Verdicts::Lock lock(known);
  const auto verdict = known.find(tested);
  if (!verdict) return test_and_note(device, token);
  if (verdict->state != Verdict::State::testing) return *verdict;
  const Verdict ended{Verdict::State::bad, "ended the program that tested it"};
  known.set(tested, ended);
  return ended;
}

Verdict TierLadder::test_and_note(const DeviceInfo& device, kernels::TokenUse token) {
  Verdicts& known = verdicts(device);
  const std::string tested = subject(device, token);
  known.set(tested, {Verdict::State::testing, ""});
  try {
    const Verdict verdict = test(device, token);
    known.set(tested, verdict);
    return verdict;
  } catch (...) {
    known.forget(tested);  // it says nothing of the kernels
    throw;
  }
}

Verdict TierLadder::test(const DeviceInfo& device, kernels::TokenUse token) {
  const auto check_cancelled = [cancel = options_.cancel] {
    if (cancel != nullptr && *cancel) fail(ErrorCode::cancelled, "the self-test was cancelled");
  };
  try {
    gpu::DeviceOptions device_options = this->device_options();
    device_options.validate = validates(device);  // compilers make other code without
    gpu::Device tested(device_options);
    const rwkv7::SelfTestSubject subject{mode_of(options_), token, options_.state_storage};
    const std::string wrong = rwkv7::self_test(tested, source_, subject, check_cancelled);
    return wrong.empty() ? Verdict{} : bad("gave wrong numbers", wrong);
  } catch (const gpu::CompileError& error) {
    return does_not_compile(error);
  } catch (const Error& error) {
    const ErrorCode code = error.code();
    if (code == ErrorCode::cancelled || code == ErrorCode::out_of_memory || code == ErrorCode::bad_request) throw;
    return bad("failed", error.what());
  } catch (const std::logic_error& error) {
    return bad("failed", error.what());
  }
}

void TierLadder::retest() {
  const gpu::FoundAdapter found = gpu::choose_adapter(options_.device);
  const DeviceInfo& device = found.info;
  tier_ = asked_.value_or(found.tier);
  const Verdicts::Lock lock(verdicts(device));
  verdicts(device).forget(gpu::name(*tier_));  // those of other modes too: they are made when they are needed
  const Verdict verdict = test_and_note(device, kernels::TokenUse::none);
  if (verdict.state != Verdict::State::good)
    fail(ErrorCode::unsupported, "[self-test] {} on {} {}", gpu::name(*tier_), device.name, verdict.reason);
}

}  // namespace ravenwing
