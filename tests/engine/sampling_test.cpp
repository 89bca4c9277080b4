// tests/engine/sampling_test.cpp: what of sampling lives in a session, on the demo model.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "engine/logprobs.hpp"
#include "engine/support.hpp"

using namespace ravenwing;

namespace {

GenerateOptions greedy(uint32_t n) {
  GenerateOptions options;
  options.max_tokens = n;
  options.stop_tokens.clear();
  options.sampler.temperature = 0;
  return options;
}

std::vector<uint32_t> prompt() { return test::exact_engine()->tokenizer().encode("Once upon a time"); }

size_t n_different(const std::vector<uint32_t>& ids) { return std::set<uint32_t>(ids.begin(), ids.end()).size(); }

}  // namespace

TEST_SUITE("sampling") {
  TEST_CASE("log-probabilities are those of the softmax, the most probable first") {
    const std::vector<float> logits = {1, 3, 3, -2};
    const double total = std::log(std::exp(1.0) + 2 * std::exp(3.0) + std::exp(-2.0));
    CHECK(log_sum_exp(logits) == doctest::Approx(total));
    const TokenLogprobs logprobs = token_logprobs(logits, 3, 3);
    CHECK(logprobs.token.id == 3);
    CHECK(logprobs.token.logprob == doctest::Approx(-2 - total));
    REQUIRE(logprobs.top.size() == 3);
    CHECK(logprobs.top[0].id == 1);
    CHECK(logprobs.top[1].id == 2);
    CHECK(logprobs.top[2].id == 0);
    CHECK(logprobs.top[2].logprob == doctest::Approx(1 - total));
    CHECK(token_logprobs(logits, 0, 20).top.size() == 4);
    CHECK(token_logprobs(logits, 0, 0).top.empty());
  }

  TEST_CASE("counts of tokens live in the session and end with it; a batch changes nothing") {
    Engine* engine = test::exact_engine();
    if (engine == nullptr) return;
    GenerateOptions options = greedy(8);
    options.sampler.presence_penalty = 100;
    Session session = engine->new_session();
    const Completion first = session.generate(prompt(), options);
    const Completion second = session.generate({}, options);
    std::vector<uint32_t> all = first.ids;
    all.insert(all.end(), second.ids.begin(), second.ids.end());
    CHECK(all.size() == 16);
    CHECK(n_different(all) == 16);
    session.reset();
    Session other = engine->new_session();
    const std::vector<Request> requests = {{&session, prompt(), options}, {&other, prompt(), greedy(8)}};
    const std::vector<Completion> together = engine->generate(requests);
    CHECK(together[0].ids == first.ids);
    other.reset();
    CHECK(other.generate(prompt(), greedy(8)).ids == together[1].ids);
  }

  TEST_CASE("bias lets a token win or lose, in its request only") {
    Engine* engine = test::exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    GenerateOptions options = greedy(2);
    options.sampler.logit_bias = {{300, 100.0f}};
    CHECK(session.generate(prompt(), options).ids == std::vector<uint32_t>{300, 300});
    session.reset();
    const uint32_t best = session.generate(prompt(), greedy(1)).ids[0];
    CHECK(best != 300);
    options.sampler.logit_bias = {{best, -100.0f}};
    session.reset();
    CHECK(session.generate(prompt(), options).ids[0] != best);
    options.sampler.logit_bias = {{engine->model().n_vocab, 1.0f}};
    CHECK_THROWS_AS(session.generate(prompt(), options), Error);
  }

  TEST_CASE("mirostat goes on where it was") {
    Engine* engine = test::exact_engine();
    if (engine == nullptr) return;
    GenerateOptions options = greedy(8);
    options.sampler = {.temperature = 1, .seed = 11, .mirostat_tau = 4, .mirostat_eta = 1};
    Session whole = engine->new_session(), halves = engine->new_session();
    const Completion expected = whole.generate(prompt(), options);
    options.max_tokens = 4;
    std::vector<uint32_t> got = halves.generate(prompt(), options).ids;
    const Completion rest = halves.generate({}, options);
    got.insert(got.end(), rest.ids.begin(), rest.ids.end());
    CHECK(got == expected.ids);
  }

  TEST_CASE("logprobs are of the model's own logits, whatever bends those that are drawn from") {
    Engine* engine = test::exact_engine();
    if (engine == nullptr) return;
    GenerateOptions options = greedy(3);
    options.logprobs = 2;
    Session session = engine->new_session(), reference = engine->new_session();
    for (const bool biased : {false, true}) {
      if (biased) options.sampler.logit_bias = {{300, 100.0f}};
      session.reset();
      const Completion completion = session.generate(prompt(), options);
      REQUIRE(completion.logprobs.size() == 3);
      reference.reset();
      std::vector<uint32_t> ids = prompt();
      for (size_t i = 0; i < 3; ++i) {
        const TokenLogprobs expected = token_logprobs(reference.logits(ids), completion.ids[i], 2);
        const TokenLogprobs& got = completion.logprobs[i];
        CHECK(got.token.id == completion.ids[i]);
        CHECK(got.token.logprob == expected.token.logprob);
        REQUIRE(got.top.size() == 2);
        CHECK(got.top[0].id == expected.top[0].id);
        CHECK(got.top[1].logprob == expected.top[1].logprob);
        CHECK((got.top[0].id == got.token.id) == !biased);
        ids = {completion.ids[i]};
      }
    }
    options.logprobs = 21;
    CHECK_THROWS_AS(session.generate(prompt(), options), Error);
  }

  TEST_CASE("DRY knows the whole session: no pair of tokens comes twice") {
    Engine* engine = test::exact_engine();
    if (engine == nullptr) return;
    std::vector<uint32_t> all = engine->tokenizer().encode("The king and the king and the king and");
    GenerateOptions options = greedy(6);
    Session session = engine->new_session();
    const Completion plain = session.generate(all, options);
    options.sampler.dry_multiplier = 100;
    options.sampler.dry_allowed_length = 1;
    options.sampler.dry_sequence_breakers = {};
    session.reset();
    std::set<std::pair<uint32_t, uint32_t>> pairs;
    for (size_t i = 1; i < all.size(); ++i) pairs.insert({all[i - 1], all[i]});
    std::vector<uint32_t> ids = all;
    for (uint32_t half = 0; half < 2; ++half) {
      const Completion completion = session.generate(ids, options);
      if (half == 0) CHECK(completion.ids != plain.ids);
      for (const uint32_t id : completion.ids) {
        CHECK(pairs.insert({all.back(), id}).second);
        all.push_back(id);
      }
      ids.clear();
    }
  }
}
