// tests/engine/dry_test.cpp: repetitions and what they cost.
#include "engine/dry.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace ravenwing;

namespace {

using Penalties = std::map<uint32_t, float>;

Penalties penalties(const std::vector<uint32_t>& history, const SamplerParams& params,
                    const std::vector<bool>& breakers = {}, size_t n_max = 1024) {
  return dry_penalties(history, params, breakers, n_max);
}

const SamplerParams kParams = {.dry_multiplier = 0.5f, .dry_base = 2};

}  // namespace

TEST_SUITE("dry") {
  TEST_CASE("the longest repetition that a token extends counts") {
    CHECK(penalties({}, kParams).empty());
    CHECK(penalties({1}, kParams).empty());
    CHECK(penalties({1, 2, 3, 1}, kParams).empty());  // of one token only
    CHECK(penalties({1, 2, 3, 1, 2}, kParams) == Penalties{{3, 0.5f}});
    CHECK(penalties({9, 1, 2, 3, 8, 9, 1, 2}, kParams) == Penalties{{3, 1}});
    // 1 2 was followed by 3 and by 4, the latter with a 7 before.
    CHECK(penalties({1, 2, 3, 7, 1, 2, 4, 7, 1, 2}, kParams) == Penalties{{3, 0.5f}, {4, 1}});
    CHECK(penalties({5, 5, 5, 5}, kParams) == Penalties{{5, 1}});
  }

  TEST_CASE("allowed length, range, breakers and the number of tokens bound it") {
    SamplerParams params = kParams;
    params.dry_allowed_length = 1;
    CHECK(penalties({1, 2, 3, 1}, params) == Penalties{{2, 0.5f}});
    CHECK(penalties({1, 2, 3, 1, 2}, params) == Penalties{{3, 1}});
    params.dry_range = 4;
    CHECK(penalties({1, 2, 3, 1, 2}, params) == Penalties{{3, 0.5f}});
    params.dry_range = 3;
    CHECK(penalties({1, 2, 3, 1, 2}, params).empty());
    const std::vector<bool> breakers = {false, true};  // id 1
    CHECK(penalties({1, 2, 3, 1, 2}, kParams, breakers).empty());
    CHECK(penalties({2, 3, 1, 5, 2, 3}, kParams, breakers).empty());
    CHECK(penalties({2, 3, 5, 1, 2, 3}, kParams, breakers) == Penalties{{5, 0.5f}});
    CHECK(penalties({1, 2, 3, 7, 1, 2, 4, 7, 1, 2}, kParams, {}, 1) == Penalties{{4, 1}});
  }

  TEST_CASE("no length makes a penalty that is not finite") {
    CHECK(penalties(std::vector<uint32_t>(5000, 3), {.dry_multiplier = 100, .dry_base = 100}) == Penalties{{3, 1000}});
  }

  TEST_CASE("repetitions are those that comparing everything with everything finds") {
    std::mt19937 random(4);
    for (uint32_t n_case = 0; n_case < 200; ++n_case) {
      std::vector<uint32_t> history(random() % 40);
      for (uint32_t& id : history) id = random() % 3;
      Penalties expected;
      for (size_t end = 1; end < history.size(); ++end) {
        size_t length = 0;
        while (length < end && history[end - 1 - length] == history[history.size() - 1 - length]) ++length;
        if (length < 2) continue;
        float& penalty = expected[history[end]];
        penalty = std::max(penalty, float(std::min(0.5 * std::pow(2.0, double(length) - 2), 1000.0)));
      }
      CHECK(penalties(history, kParams) == expected);
    }
  }

  TEST_CASE("a token breaks a sequence wherever a breaker stands in its bytes") {
    const Tokenizer tokenizer = Tokenizer::from_text("1 'a' 1\n2 '.\\n' 2\n3 'b:c' 3\n5 ':' 1\n");
    const std::vector<std::string> strings = {"\n", ":", ""};
    CHECK(sequence_breakers(tokenizer, strings) == std::vector<bool>{false, false, true, true, false, true});
    CHECK(sequence_breakers(tokenizer, {}) == std::vector<bool>(6));
  }
}
