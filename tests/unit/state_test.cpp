// tests/unit/state_test.cpp: a state on the host: its parts, arithmetic, and files.
#include "ravenwing/state.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "ravenwing/model_info.hpp"
#include "support/files.hpp"
#include "support/safetensors_writer.hpp"

using namespace ravenwing;

namespace {

/// Of 2 layers of 3 heads of 4: each value of wkv its place, shifts in between.
State counted(float first = 0) {
  ModelInfo model;
  model.n_layer = 2;
  model.n_head = 3;
  model.head_size = 4;
  State state = State::zeros(model);
  std::iota(state.time_shift.begin(), state.time_shift.end(), first + 0.25f);
  std::iota(state.wkv.begin(), state.wkv.end(), first);
  std::iota(state.channel_shift.begin(), state.channel_shift.end(), first + 0.5f);
  return state;
}

template <typename Call>
std::string refusal(ErrorCode code, Call call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("nothing was thrown");
  return {};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

std::span<const std::byte> bytes_of(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

}  // namespace

TEST_CASE("parts of a state are found by layer and head") {
  State state = counted();
  CHECK(state.n_embd() == 12);
  CHECK(state.time_shift.size() == 24);
  CHECK(state.wkv.size() == 96);
  CHECK(state.time_shift_of(1)[0] == 12.25f);
  CHECK(state.time_shift_of(1).size() == 12);
  CHECK(state.channel_shift_of(0)[11] == 11.5f);
  CHECK(state.wkv_of(1)[0] == 48);
  CHECK(state.wkv_of(1).size() == 48);
  CHECK(state.wkv_of(1, 2)[0] == 80);
  CHECK(state.wkv_of(1, 2).size() == 16);
  state.wkv_of(1, 2)[15] = -1;
  CHECK(state.wkv.back() == -1);
  const State& fixed = state;
  CHECK(fixed.wkv_of(1, 2).back() == -1);
  CHECK(fixed.wkv_of(0).data() == state.wkv.data());
  CHECK(fixed.time_shift_of(0).data() == state.time_shift.data());
  CHECK(fixed.channel_shift_of(0).data() == state.channel_shift.data());
  CHECK(has(refusal(ErrorCode::bad_request, [&] { state.time_shift_of(2); }), "no layer 2, the state has 2"));
  CHECK(has(refusal(ErrorCode::bad_request, [&] { state.wkv_of(0, 3); }), "no head 3, the state has 3"));
}

TEST_CASE("a shape that the values do not have is refused wherever it is used") {
  State state = counted();
  state.validate();
  const auto refused = [](const State& bad) {
    CHECK(has(refusal(ErrorCode::bad_request, [&] { bad.validate(); }), "values"));
    refusal(ErrorCode::bad_request, [&] { State sum = counted() + bad; });
    refusal(ErrorCode::bad_request, [&] { bad.save("/nowhere/state"); });
  };
  for (auto part : {&State::time_shift, &State::wkv, &State::channel_shift}) {
    State bad = state;
    (bad.*part).pop_back();
    refused(bad);
  }
  State large = state;
  large.n_layer = 3;
  refused(large);
  CHECK(has(refusal(ErrorCode::bad_request, [&] { large.wkv_of(2); }), "fewer values"));
  // Products that do not fit, or come to the right number by overflow.
  constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
  large.n_layer = large.n_head = large.head_size = kMax;
  refused(large);
  refusal(ErrorCode::bad_request, [&] { large.wkv_of(kMax - 1, kMax - 1); });
  State empty{.n_layer = 1u << 31, .n_head = 1u << 17, .head_size = 1u << 16};
  refused(empty);
}

TEST_CASE("states are added, scaled and compared") {
  const State a = counted(), b = counted(100);
  const State mixed = 0.5f * a + b * 0.25f;
  CHECK(mixed.wkv[7] == 0.5f * 7 + 0.25f * 107);
  CHECK(mixed.time_shift[7] == 0.5f * 7.25f + 0.25f * 107.25f);
  CHECK(mixed.channel_shift[7] == 0.5f * 7.5f + 0.25f * 107.5f);
  CHECK((b - a).wkv == std::vector<float>(96, 100));
  CHECK(a == counted());
  CHECK_FALSE(a == b);
  CHECK(a.distance(a) == 0);
  CHECK(State(-1 * a).distance(a) == doctest::Approx(2));
  CHECK(State(0.75f * a).distance(a) == doctest::Approx(0.25));
  CHECK(State(0 * a).distance(State(0 * a)) == 0);
  State other = a;
  std::swap(other.n_layer, other.n_head);
  other.n_head = 3;
  refusal(ErrorCode::bad_request, [&] { return a.distance(other); });
}

TEST_CASE("a state's file gives it back; what is none is refused") {
  const test::TemporaryFolder folder;
  const State state = counted(-3);
  state.save(folder / "state");
  CHECK(State::load(folder / "state") == state);

  using Writer = test::SafetensorsWriter;
  const std::vector<float> shift(12), wkv(48);
  const auto refused = [&](const Writer& writer, std::string_view why) {
    test::write_file(folder / "bad", writer.bytes());
    const std::string message = refusal(ErrorCode::bad_file, [&] { State::load(folder / "bad"); });
    CHECK_MESSAGE(has(message, why), message);
  };
  const auto with = [&](const std::string& part, std::vector<uint64_t> shape, const std::vector<float>& values) {
    Writer writer;
    const auto add = [&](const std::string& name, std::vector<uint64_t> own, const std::vector<float>& its) {
      const auto& bytes = bytes_of(name == part ? values : its);
      writer.tensors.push_back({name, "F32", name == part ? shape : own, {bytes.begin(), bytes.end()}});
    };
    add("time_shift", {1, 12}, shift);
    add("wkv", {1, 3, 4, 4}, wkv);
    add("channel_shift", {1, 12}, shift);
    return writer;
  };
  Writer good = with("", {}, {});
  // As Python's State.save writes it.
  const std::vector<float> mu = {5};
  good.tensors.push_back({"mirostat_mu", "F32", {1}, {bytes_of(mu).begin(), bytes_of(mu).end()}});
  good.metadata = {{"kind", "ravenwing state"}, {"version", "1"}, {"tokens_seen", "7"}, {"pending_token", "none"}};
  test::write_file(folder / "good", good.bytes());
  CHECK(State::load(folder / "good").n_head == 3);
  refused(with("wkv", {3, 4, 4}, wkv), "no tensor 'wkv'");
  refused(with("wkv", {1, 4, 3, 4}, wkv), "no tensor 'wkv'");
  refused(with("wkv", {uint64_t(1) << 40, 0, 4, 4}, {}), "no tensor 'wkv'");
  refused(with("wkv", {1, 12, 2, 2}, wkv), "'time_shift' of type F32 and the shape [1, 24]");
  refused(with("channel_shift", {12}, shift), "'channel_shift' of type F32 and the shape [1, 12]");
  Writer half = good;
  half.tensors[0].dtype = "F16";
  half.tensors[0].data.resize(24);
  refused(half, "'time_shift'");
  Writer missing = good;
  missing.erase_tensor("channel_shift");
  refused(missing, "'channel_shift'");
  refusal(ErrorCode::bad_file, [&] { State::load(folder / "none"); });
}
