// tests/engine/session_test.cpp: sessions that are kept, copied, written and taken back.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>

#include "engine/support.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("ravenwing-session-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

void check_same(const State& a, const State& b) {
  CHECK(a.time_shift == b.time_shift);
  CHECK(a.wkv == b.wkv);
  CHECK(a.channel_shift == b.channel_shift);
}

/// The state after a prompt and ids that were returned, all but the last one fed.
State state_after(Engine& engine, std::span<const uint32_t> ids, std::span<const uint32_t> returned) {
  Session session = engine.new_session();
  session.feed(ids);
  if (!returned.empty()) session.feed(returned.first(returned.size() - 1));
  return session.state();
}

}  // namespace

TEST_SUITE("session") {
  TEST_CASE("a fork, a snapshot and a file go on as the session itself does") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Folder folder;
    const auto file = folder.path / "a.session";
    GenerateOptions options = greedy(6);
    options.sampler.temperature = 1;
    options.sampler.seed = 3;
    options.sampler.presence_penalty = 2;  // what it counts goes with the session
    Session session = engine->new_session();
    session.generate(prompt("Once upon a time"), options);  // leaves a token that is not fed yet
    const SessionSnapshot snapshot = session.snapshot();
    CHECK(snapshot.pending.has_value());
    CHECK(std::count_if(snapshot.counts.begin(), snapshot.counts.end(), [](float count) { return count > 0; }) > 2);
    session.save(file);
    const std::vector<std::byte> bytes = session.to_bytes();
    const std::string in_file = bytes_of(file);
    CHECK(std::ranges::equal(bytes, std::as_bytes(std::span(in_file))));
    Session fork = session.fork();
    const Completion expected = session.generate({}, options);
    REQUIRE(expected.ids.size() == 6);

    CHECK(fork.generate({}, options).ids == expected.ids);
    check_same(fork.state(), session.state());
    fork.restore(snapshot);
    CHECK(fork.generate({}, options).ids == expected.ids);
    fork.reset();
    fork.load(file);
    CHECK(fork.n_tokens() == snapshot.n_tokens);
    CHECK(fork.generate({}, options).ids == expected.ids);
    check_same(fork.state(), session.state());
    fork.reset();
    fork.from_bytes(bytes);
    CHECK(fork.snapshot() == snapshot);
    CHECK(fork.generate({}, options).ids == expected.ids);
    // The fork leaves its origin alone.
    const State before = session.state();
    fork.feed(prompt("And so it went."));
    check_same(session.state(), before);
  }

  TEST_CASE("however a generation ends, the state is that of the prompt and the ids returned") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const auto ids = prompt("Once upon a time");
    Session session = engine->new_session();
    const Completion free = session.generate(ids, greedy(40));
    REQUIRE(free.ids.size() == 40);
    check_same(session.state(), state_after(*engine, ids, free.ids));
    // Before the second copy of the state, and past several; flight_test.cpp has more.
    for (const size_t n_ids : {size_t(3), size_t(35)}) {
      CAPTURE(n_ids);
      const std::string before = engine->tokenizer().decode(std::span(free.ids).first(n_ids));
      GenerateOptions options = greedy(40);
      options.stop = {free.text.substr(before.size() + 1, 12)};
      REQUIRE(free.text.find(options.stop[0]) == before.size() + 1);
      session.reset();
      const Completion stopped = session.generate(ids, options);
      CHECK(stopped.finish_reason == FinishReason::stop);
      CHECK(stopped.text == free.text.substr(0, before.size() + 1));
      CHECK(stopped.ids == std::vector<uint32_t>(free.ids.begin(), free.ids.begin() + ptrdiff_t(n_ids)));
      check_same(session.state(), state_after(*engine, ids, stopped.ids));
      CHECK(session.n_tokens() == ids.size() + (n_ids == 0 ? 0 : n_ids - 1));
    }
    GenerateOptions options = greedy(40);
    options.stop_tokens = {free.ids[9]};
    session.reset();
    const Completion at_token = session.generate(ids, options);
    // The token before the stop token was fed to get it.
    Session fed = engine->new_session();
    fed.feed(ids);
    fed.feed(at_token.ids);
    session.feed({});
    check_same(session.state(), fed.state());

    size_t n_pieces = 0;
    options = greedy(40);
    options.on_text = [&](std::string_view) { return ++n_pieces < 5; };
    session.reset();
    const Completion cancelled = session.generate(ids, options);
    check_same(session.state(), state_after(*engine, ids, cancelled.ids));
  }

  TEST_CASE("RELIABILITY 35: session files that are damaged or another model's are refused and change nothing") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Folder folder;
    const auto good = folder.path / "good", bad = folder.path / "bad";
    Session session = engine->new_session();
    session.feed(prompt("Once upon a time"));
    session.save(good);
    const std::string bytes = bytes_of(good);
    const State state = session.state();
    const auto refused = [&](const std::string& damaged) {
      write(bad, damaged);
      CHECK(code_of([&] { session.load(bad); }) == ErrorCode::bad_file);
      CHECK(code_of([&] { session.from_bytes(std::as_bytes(std::span(damaged))); }) == ErrorCode::bad_file);
    };
    refused("");
    for (const size_t n : {size_t(1), size_t(7), size_t(100), bytes.size() / 2, bytes.size() - 1})
      refused(bytes.substr(0, n));
    refused(bytes + "x");
    const auto replaced = [&](std::string_view from, std::string_view to) {
      std::string text = bytes;
      const size_t at = text.find(from);
      REQUIRE(at != text.npos);
      REQUIRE(from.size() == to.size());
      return text.replace(at, from.size(), to);
    };
    refused(replaced("ravenwing session", "ravenwing sausage"));
    refused(replaced("\"version\":\"2\"", "\"version\":\"1\""));
    refused(replaced("\"model_hash\":\"", "\"model_hish\":\""));
    refused(replaced("\"time_shift\":", "\"time_shaft\":"));
    refused(replaced("\"pending_token\":\"none\"", "\"pending_token\":\"9999\""));
    refused(replaced("\"tokens_seen\":\"4\"", "\"tokens_seen\":\"5\""));
    refused(replaced("\"tokens_seen\":\"4\"", "\"tokens_seen\":\"x\""));
    std::string other_model = bytes, flipped = bytes;
    char& digit = other_model[bytes.find("\"model_hash\":\"") + 14];
    digit = digit == '0' ? '1' : '0';
    refused(other_model);
    flipped[bytes.size() - 5] = char(flipped[bytes.size() - 5] ^ 0x10);
    refused(flipped);
    write(bad, bytes_of(demo_model_path()).substr(0, 1 << 20));
    CHECK(code_of([&] { session.load(bad); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { session.from_bytes({}); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { session.load(folder.path); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { session.load(folder.path / "none"); }) == ErrorCode::bad_file);
    SessionSnapshot small = session.snapshot();
    small.state.wkv.pop_back();
    CHECK(code_of([&] { session.restore(small); }) == ErrorCode::bad_request);
    SessionSnapshot other = session.snapshot();
    std::swap(other.state.n_layer, other.state.n_head);  // as many values, but of another model
    REQUIRE(other.state.n_layer != other.state.n_head);
    CHECK(code_of([&] { session.restore(other); }) == ErrorCode::bad_request);
    check_same(session.state(), state);
    CHECK(session.n_tokens() == 4);
  }

  TEST_CASE("RELIABILITY 38: a disk that is full leaves the old file as it was, and nothing beside it") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Folder folder;
    const auto file = folder.path / "a.session";
    Session session = engine->new_session();
    session.feed(prompt("Once"));
    session.save(file);
    const std::string before = bytes_of(file);
    session.feed(prompt(" upon a time"));
    // What a full disk gives: the first part is written, then no more.
    rlimit old_limit = {};
    getrlimit(RLIMIT_FSIZE, &old_limit);
    const rlimit limit = {.rlim_cur = 1 << 16, .rlim_max = old_limit.rlim_max};
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK(code_of([&] { session.save(file); }) == ErrorCode::bad_file);
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    CHECK(bytes_of(file) == before);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
    CHECK(code_of([&] { session.save(folder.path / "no folder" / "a"); }) == ErrorCode::bad_file);
    session.save(file);
    CHECK(bytes_of(file) != before);
  }

  TEST_CASE("sessions restored one after the other, and while others run, are what was restored") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session first = engine->new_session(), second = engine->new_session(), third = engine->new_session();
    first.feed(prompt("Once upon a time there was a king"));
    second.feed(prompt("The cat"));
    const SessionSnapshot king = first.snapshot(), cat = second.snapshot();
    REQUIRE(king.state.wkv != cat.state.wkv);
    const auto ids = prompt(" and");
    const Completion of_king = first.generate(ids, greedy(12)), of_cat = second.generate(ids, greedy(12));
    // Nothing waits in between: the memory that the first goes through is filled again for the next.
    first.restore(cat);
    second.restore(std::make_shared<const SessionSnapshot>(king));
    third.restore(cat);
    test::check_same(first.snapshot(), cat);
    test::check_same(second.snapshot(), king);
    test::check_same(third.snapshot(), cat);

    GenerateOptions options = greedy(12);
    size_t n_pieces = 0;
    options.on_text = [&](std::string_view) {
      third.restore(++n_pieces % 2 == 0 ? cat : king);  // steps of the two are on their way
      return true;
    };
    const std::vector<Request> requests = {{&first, ids, greedy(12)}, {&second, ids, options}};
    const std::vector<Completion> completions = engine->generate(requests);
    CHECK(completions[0].ids == of_cat.ids);
    CHECK(completions[1].ids == of_king.ids);
    REQUIRE(n_pieces > 4);
    test::check_same(third.snapshot(), n_pieces % 2 == 0 ? cat : king);
    CHECK(third.generate(ids, greedy(12)).ids == (n_pieces % 2 == 0 ? of_cat : of_king).ids);
  }

  TEST_CASE("a snapshot that does not fit leaves the session as it is, with all that sampling remembers") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    GenerateOptions options = greedy(6);
    options.sampler = {.temperature = 1, .seed = 3, .presence_penalty = 2, .mirostat_tau = 4};
    Session session = engine->new_session();
    session.generate(prompt("Once upon a time"), options);
    const SessionSnapshot before = session.snapshot();
    CHECK(before.mirostat_mu != 0);
    const auto refused = [&](auto change) {
      SessionSnapshot wrong = engine->new_session().snapshot();
      change(wrong);
      CHECK(code_of([&] { session.restore(wrong); }) == ErrorCode::bad_request);
      const auto shared = std::make_shared<const SessionSnapshot>(std::move(wrong));
      CHECK(code_of([&] { session.restore(shared); }) == ErrorCode::bad_request);
    };
    refused([](SessionSnapshot& wrong) { wrong.state.time_shift.push_back(0); });
    refused([](SessionSnapshot& wrong) { wrong.state.wkv.clear(); });
    refused([](SessionSnapshot& wrong) { wrong.state.channel_shift.pop_back(); });
    refused([](SessionSnapshot& wrong) { wrong.counts = {1}; });
    refused([](SessionSnapshot& wrong) { wrong.pending = 1 << 30; });
    refused([](SessionSnapshot& wrong) { wrong.history = {1 << 30}; });
    refused([](SessionSnapshot& wrong) { wrong.mirostat_mu = std::numeric_limits<float>::infinity(); });
    CHECK(code_of([&] { session.restore(std::shared_ptr<const SessionSnapshot>()); }) == ErrorCode::bad_request);
    test::check_same(session.snapshot(), before);
    const Completion expected = session.generate({}, options);
    session.restore(before);
    CHECK(session.generate({}, options).ids == expected.ids);
  }

  TEST_CASE("a snapshot takes the memory of one that is no longer needed, and nothing else of it") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session(), other = engine->new_session();
    GenerateOptions options = greedy(4);
    options.sampler = {.temperature = 1, .seed = 3, .presence_penalty = 2, .mirostat_tau = 4};
    session.generate(prompt("Once upon a time"), options);
    other.feed(prompt("The cat"));
    const SessionSnapshot expected = other.snapshot();
    SessionSnapshot used = session.snapshot();
    const float* const memory = used.state.wkv.data();
    const SessionSnapshot found = other.snapshot(std::move(used));
    CHECK(found.state.wkv.data() == memory);
    test::check_same(found, expected);
    SessionSnapshot wrong;
    wrong.state.wkv = {1, 2};
    wrong.state.time_shift.assign(1 << 20, 1.0f);
    test::check_same(other.snapshot(std::move(wrong)), expected);
  }

  TEST_CASE("a character that a generation left open ends with the next ids, however they are fed") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    Session session = engine->new_session();
    SessionSnapshot open = session.snapshot();
    open.undecoded = "\xe2\x82";
    const auto ids = prompt("The cat");
    const auto left_after = [&](auto feed) {
      session.restore(open);
      feed();
      return session.snapshot().undecoded;
    };
    CHECK(left_after([&] { session.feed({}); }) == open.undecoded);
    CHECK(left_after([&] { session.feed(ids); }).empty());
    CHECK(left_after([&] { session.logits(ids); }).empty());
    CHECK(left_after([&] { session.logits_of_each(ids, [](size_t, std::span<const float>) {}); }).empty());
    CHECK(left_after([&] { session.score(ids); }).empty());
  }

  TEST_CASE("after a reset a session is a new one") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    GenerateOptions options = greedy(8);
    options.sampler = {
        .temperature = 1, .seed = 3, .presence_penalty = 2, .logit_bias = {{300, -1.0f}}, .mirostat_tau = 4};
    Session used = engine->new_session(), fresh = engine->new_session(), beside = engine->new_session();
    beside.feed(prompt("The cat"));
    const SessionSnapshot neighbour = beside.snapshot();
    used.generate(prompt("There was once a king"), options);
    used.reset();
    test::check_same(used.snapshot(), fresh.snapshot());
    const auto ids = prompt("Once upon a time");
    CHECK(used.generate(ids, options).ids == fresh.generate(ids, options).ids);
    test::check_same(used.snapshot(), fresh.snapshot());
    test::check_same(beside.snapshot(), neighbour);
  }

  TEST_CASE("a state has the model's shapes, is kept alone and taken up by another session") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    const Folder folder;
    Session session = engine->new_session();
    CHECK(session.state() == State::zeros(engine->model()));
    session.feed(prompt("Once upon a time"));
    const State state = session.state();
    state.validate();
    CHECK(state.n_layer == engine->model().n_layer);
    CHECK(state.n_embd() == engine->model().n_embd);
    state.save(folder.path / "state");
    session.save(folder.path / "session");
    CHECK(State::load(folder.path / "state") == state);
    CHECK(State::load(folder.path / "session") == state);
    CHECK(code_of([&] { session.load(folder.path / "state"); }) == ErrorCode::bad_file);

    const Completion expected = session.generate(prompt(" there"), greedy(4));
    Session other = engine->new_session();
    other.restore({.state = State::load(folder.path / "state")});
    CHECK(other.generate(prompt(" there"), greedy(4)).ids == expected.ids);
  }

  TEST_CASE("a character that the limit cuts comes whole with the next call") {
    Engine* engine = exact_engine();
    if (engine == nullptr) return;
    // Two bytes of three of U+20AC, held by a snapshot as if the limit had come between its tokens.
    Session session = engine->new_session();
    session.feed(prompt("Once upon a"));
    SessionSnapshot snapshot = session.snapshot();
    snapshot.pending = prompt(" time").front();
    snapshot.undecoded = "\xe2\x82";
    session.restore(snapshot);
    const Completion goes_on = session.generate({}, greedy(2));
    CHECK(goes_on.text == "\xe2\x82" + engine->tokenizer().decode(goes_on.ids));
    session.restore(snapshot);
    CHECK(session.snapshot().undecoded == snapshot.undecoded);
    // New text begins a character of its own.
    const Completion anew = session.generate(prompt(" and"), greedy(2));
    CHECK(anew.text == engine->tokenizer().decode(anew.ids));
  }
}
