// tests/engine/embedding_test.cpp: vectors of texts, alone and in company.
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/support.hpp"
#include "support/files.hpp"
#include "support/shared_data.hpp"

using namespace ravenwing;
using namespace ravenwing::test;

namespace {

using Texts = std::vector<std::vector<uint32_t>>;

/// More than there are sessions; one of them longer than two steps of the exact engine, one without ids.
Texts texts() {
  Texts result;
  for (const char* text : {"The king", "Once upon a time there was a little girl who lived by the sea with her mother",
                           "", "A", "The market was full of people and of noise", "She had a red cap",
                           "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"})
    result.push_back(prompt(text));
  while (result[1].size() <= 32) result[1].insert(result[1].end(), result[4].begin(), result[4].end());
  return result;
}

std::vector<float> row(const std::vector<float>& vectors, size_t n_rows, size_t i) {
  const size_t n = vectors.size() / n_rows;
  return {vectors.begin() + ptrdiff_t(i * n), vectors.begin() + ptrdiff_t((i + 1) * n)};
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double product = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += double(a[i]) * b[i];
    of_a += double(a[i]) * a[i];
    of_b += double(b[i]) * b[i];
  }
  return product / std::sqrt(of_a * of_b);
}

/// Of texts as they are, without a closing.
EmbeddingOptions embedding(Pooling pooling, int32_t layer = -1, bool normalize = true) {
  return {.pooling = pooling, .layer = layer, .closing = "", .normalize = normalize, .on_progress = {}};
}

}  // namespace

TEST_SUITE_BEGIN("embedding");

TEST_CASE("in exact mode a text has the same bits alone and in company, whatever the pooling and the layer") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const Texts all = texts();
  for (const Pooling pooling : {Pooling::last, Pooling::mean}) {
    for (const int32_t layer : {-1, 0, -2}) {
      INFO(name(pooling), ", layer ", layer);
      std::vector<size_t> told;
      EmbeddingOptions options = embedding(pooling, layer);
      options.on_progress = [&](size_t n) { told.push_back(n); };
      const std::vector<float> together = engine.embed(all, options);
      REQUIRE(together.size() == all.size() * engine.model().n_embd);
      CHECK(std::ranges::is_sorted(told));
      CHECK(told.back() == all.size());
      for (size_t i = 0; i < all.size(); ++i) {
        const std::vector<float> alone = engine.embed({&all[i], 1}, options), found = row(together, all.size(), i);
        CHECK(found == alone);
        CHECK(cosine(found, found) == doctest::Approx(1));
        double squares = 0;
        for (const float value : found) squares += double(value) * value;
        CHECK(squares == doctest::Approx(1).epsilon(1e-5));
        CHECK((i == 0 || found != row(together, all.size(), i - 1)));
      }
    }
  }
}

TEST_CASE("in fast mode a text's vector has nearly the same direction alone and in company") {
  if (exact_engine() == nullptr) return;
  EngineOptions engine_options = demo_options();
  engine_options.max_sessions = 5;
  Engine engine(engine_options);
  const Texts all = texts();
  for (const Pooling pooling : {Pooling::last, Pooling::mean}) {
    const std::vector<float> together = engine.embed(all, embedding(pooling));
    const std::vector<float> exact = exact_engine()->embed(all, embedding(pooling));
    for (size_t i = 0; i < all.size(); ++i) {
      const std::vector<float> found = row(together, all.size(), i);
      CHECK(cosine(found, engine.embed({&all[i], 1}, embedding(pooling))) >= 0.999);
      CHECK(cosine(found, row(exact, all.size(), i)) >= 0.999);
    }
  }
}

TEST_CASE("a text after a prefix is the end of both together; the prefix stays as it is") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const Texts rest = {prompt(" and the queen"), prompt(" was old")};
  Session prefix = engine.new_session();
  prefix.feed(prompt("The king"));
  const SessionSnapshot before = prefix.snapshot();
  const std::vector<float> found = engine.embed(rest, embedding(Pooling::last), &prefix);
  check_same(prefix.snapshot(), before);
  for (size_t i = 0; i < rest.size(); ++i) {
    std::vector<uint32_t> both = prompt("The king");
    both.insert(both.end(), rest[i].begin(), rest[i].end());
    CHECK(row(found, 2, i) == engine.embed({&both, 1}, embedding(Pooling::last)));
  }
  // The mean is of the text's own tokens.
  CHECK(engine.embed({rest.data(), 1}, embedding(Pooling::mean), &prefix) !=
        engine.embed({rest.data(), 1}, embedding(Pooling::mean)));
}

TEST_CASE("the closing is read after each text, for its last token alone") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const Texts all = {prompt("The king"), {}};
  EmbeddingOptions closed;
  closed.closing = " and so";
  const std::vector<float> found = engine.embed(all, closed);
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<uint32_t> both = all[i];
    for (const uint32_t id : prompt(" and so")) both.push_back(id);
    CHECK(row(found, 2, i) == engine.embed({&both, 1}, embedding(Pooling::last)));
  }
  closed.pooling = Pooling::mean;
  CHECK(engine.embed(all, closed) == engine.embed(all, embedding(Pooling::mean)));
}

TEST_CASE("a state is the layer's after the text; normalized, its rows have one length") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const Texts all = texts();
  const size_t n = engine.embedding_size(Pooling::state), head_size = engine.model().head_size;
  REQUIRE(n == size_t(engine.model().n_embd) * head_size);
  for (const int32_t layer : {-1, 1}) {
    const std::vector<float> raw = engine.embed(all, embedding(Pooling::state, layer, false));
    const std::vector<float> normalized = engine.embed(all, embedding(Pooling::state, layer));
    for (size_t i = 0; i < all.size(); ++i) {
      Session session = engine.new_session();
      session.feed(all[i].empty() ? std::vector<uint32_t>{0} : all[i]);
      const std::vector<float> wkv = session.state().wkv;
      const size_t first = (layer < 0 ? engine.model().n_layer - 1 : uint32_t(layer)) * n;
      CHECK(row(raw, all.size(), i) == std::vector(wkv.begin() + ptrdiff_t(first), wkv.begin() + ptrdiff_t(first + n)));
      const std::vector<float> found = row(normalized, all.size(), i);
      for (size_t at = 0; at < n; at += 7 * head_size) {
        const std::vector<float> of_raw(raw.begin() + ptrdiff_t(i * n + at),
                                        raw.begin() + ptrdiff_t(i * n + at + head_size));
        const std::vector<float> one(found.begin() + ptrdiff_t(at), found.begin() + ptrdiff_t(at + head_size));
        double squares = 0;
        for (const float value : one) squares += double(value) * value;
        CHECK(squares == doctest::Approx(double(head_size) / double(n)).epsilon(1e-4));
        CHECK(cosine(one, of_raw) == doctest::Approx(1));
      }
    }
  }
}

TEST_CASE("a mean is the sum of its tokens' vectors, by their number") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const std::vector<uint32_t> ids = prompt("The king and the queen");
  REQUIRE(ids.size() >= 3);
  std::vector<double> mean(engine.model().n_embd);
  for (size_t n = 1; n <= ids.size(); ++n) {
    const std::vector<uint32_t> begin(ids.begin(), ids.begin() + ptrdiff_t(n));
    const std::vector<float> last = engine.embed({&begin, 1}, embedding(Pooling::last, -1, false));
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += last[i] / double(ids.size());
  }
  const std::vector<float> found = engine.embed({&ids, 1}, embedding(Pooling::mean, -1, false));
  for (size_t i = 0; i < mean.size(); ++i) CHECK(found[i] == doctest::Approx(mean[i]).epsilon(1e-4));
}

TEST_CASE("what cannot be: layers and ids that are none, no session free, another engine's prefix, a call given up") {
  if (exact_engine() == nullptr) return;
  Engine& engine = *exact_engine();
  const Texts one = {prompt("The king")}, wrong = {{engine.model().n_vocab}};
  const auto n_layer = int32_t(engine.model().n_layer);
  CHECK(engine.embed({}).empty());
  CHECK(code_of([&] { engine.embed(one, embedding(Pooling::last, n_layer)); }) == ErrorCode::bad_request);
  CHECK(code_of([&] { engine.embed(one, embedding(Pooling::last, -n_layer - 1)); }) == ErrorCode::bad_request);
  CHECK(code_of([&] { engine.embed(wrong); }) == ErrorCode::bad_request);
  const std::vector<float> expected = engine.embed(one);
  {
    std::vector<Session> sessions;
    for (int i = 0; i < 3; ++i) {
      // One that came to its end, whose slot is frozen when it goes back.
      sessions.push_back(engine.new_session());
      sessions.back().generate(prompt("The"), greedy(1));
    }
    CHECK(code_of([&] { engine.embed(one); }) == ErrorCode::bad_request);
  }
  cancel_flag() = true;
  CHECK(code_of([&] { engine.embed(one); }) == ErrorCode::cancelled);
  cancel_flag() = false;
  CHECK(engine.embed(one) == expected);
}

TEST_SUITE_END();

namespace {

/// Of all pairs of a first and a second half of passages: how often one of the same passage is nearer than one of two.
double area_under_curve(const std::vector<float>& vectors, size_t n_halves) {
  std::vector<double> same, other;
  for (size_t i = 0; i < n_halves; i += 2) {
    for (size_t j = 1; j < n_halves; j += 2)
      (j == i + 1 ? same : other).push_back(cosine(row(vectors, n_halves, i), row(vectors, n_halves, j)));
  }
  double wins = 0;
  for (const double a : same) {
    for (const double b : other) wins += a > b ? 1 : a == b ? 0.5 : 0;
  }
  return wins / double(same.size() * other.size());
}

nlohmann::json json_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

/// The values of a float32 array that NumPy wrote.
std::vector<float> npy_values(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  REQUIRE(bytes.size() > 128);
  std::vector<float> values((bytes.size() - 128) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + 128, values.size() * sizeof(float));
  return values;
}

}  // namespace

TEST_SUITE("slow") {
  TEST_CASE("vectors tell which halves of stories belong together as well as those of the reference do") {
    const auto shared = shared_data();
    if (exact_engine() == nullptr || !shared) return;
    EngineOptions engine_options = demo_options();
    engine_options.model = *shared / "models/tiny/tiny-rwkv7.safetensors";
    engine_options.vocab = *shared / "models/tiny/vocab.txt";
    engine_options.max_sessions = 33;
    const std::filesystem::path folder = golden_folder().parent_path() / "embeddings";
    const auto halves = json_of(folder / "halves.json").get<Texts>();
    const double bar = json_of(folder / "reference.json")["auc"]["mean"].get<double>();
    const std::vector<float> mean = npy_values(folder / "mean.npy"), last = npy_values(folder / "last.npy");
    for (const char* const tier : {"T0", ""}) {
      engine_options.tier = tier;
      Engine engine(engine_options);
      for (const Pooling pooling : {Pooling::mean, Pooling::last, Pooling::state}) {
        EmbeddingOptions options;
        options.pooling = pooling;
        const std::vector<float> found = engine.embed(halves, options);
        const double area = area_under_curve(found, halves.size());
        MESSAGE(engine.device().tier, ", ", name(pooling), ": ", area, ", reference ", bar);
        // In f32 as good as the reference. Weights and activations of f16 move the mean's by up to 0.0005.
        CHECK(area >= bar - (engine_options.tier == "T0" ? 1e-9 : 0.001));
        if (pooling == Pooling::state) continue;
        const std::vector<float>& expected = pooling == Pooling::mean ? mean : last;
        REQUIRE(found.size() == expected.size());
        for (size_t i = 0; i < halves.size(); ++i)
          CHECK(cosine(row(found, halves.size(), i), row(expected, halves.size(), i)) >= 0.9995);
      }
    }
  }
}
