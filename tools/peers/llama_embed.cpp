// Measures llama.cpp's embeddings of an RWKV-7 GGUF file at what tools/bench_python.py measures of the Python package.
//
//   g++ -std=c++17 -O2 -I LLAMA/include -I LLAMA/ggml/include tools/peers/llama_embed.cpp -o llama_embed LIBRARIES
//   llama_embed MODEL.gguf FOLDER [LAYERS_ON_GPU [TEXTS [REPEAT]]]
//
// LIBRARIES: libllama, libggml, libggml-base of llama.cpp v0.5.0; FOLDER has its backends (libggml-*.so). Where
// embeddings are asked for, it takes texts one after another, each in steps of its own, and computes logits of all
// tokens besides. So texts are measured without, too: the logits of their last tokens in place of vectors; then texts
// of equal length share steps.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

using Text = std::vector<llama_token>;

using PoolingType = enum llama_pooling_type;  // a function has the same name

constexpr int kDocument = 212, kText = 64, kSequences = 32, kBatch = kSequences * kText;
constexpr int kFields[] = {5, 12, 19, 26, 33, 40};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "llama_embed: %s\n", what.c_str());
  std::exit(1);
}

Text ids_of(int n, uint32_t seed, int n_vocab) {
  std::mt19937 draw(seed);
  Text ids(n);
  for (llama_token& id : ids) id = llama_token(1 + draw() % uint32_t(n_vocab - 1));
  return ids;
}

/// Median, least and most of `repeat` calls; rates where texts or tokens are given. `call` was made before.
void measure(const std::string& what, int repeat, const std::function<void()>& call, int n_texts = 0,
             int n_tokens = 0) {
  std::vector<double> ms;
  for (int i = 0; i < repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    ms.push_back(took.count());
  }
  std::sort(ms.begin(), ms.end());
  const double median = (ms[ms.size() / 2] + ms[(ms.size() - 1) / 2]) / 2;
  std::printf("| %s | %.2f ms | %.2f ms | %.2f ms | %zu | ", what.c_str(), median, ms.front(), ms.back(), ms.size());
  if (n_texts > 0) std::printf("%.0f", n_texts * 1e3 / median);
  std::printf(" | ");
  if (n_tokens > 0) std::printf("%.0f", n_tokens * 1e3 / median);
  std::printf(" |\n");
  std::fflush(stdout);
}

struct Engine {
  llama_model* model;
  int n_threads;
};

class Context {
 public:
  /// Without pooling: logits in place of vectors.
  Context(const Engine& engine, PoolingType pooling)
      : pooling_(pooling), n_embd_(llama_model_n_embd(engine.model)), batch_(llama_batch_init(kBatch, 0, 1)) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = kSequences * 256;
    params.n_batch = kBatch;
    params.n_ubatch = 512;
    params.n_seq_max = kSequences;
    params.pooling_type = pooling;
    params.embeddings = pooling != LLAMA_POOLING_TYPE_NONE;
    params.n_threads = params.n_threads_batch = engine.n_threads;
    context_ = llama_init_from_model(engine.model, params);
    if (context_ == nullptr) fail("no context");
  }
  ~Context() {
    llama_batch_free(batch_);
    llama_free(context_);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  llama_context* get() { return context_; }

  /// One call of llama_decode; `begin` to `end` are at most kSequences texts.
  void decode(const Text* begin, const Text* end) {
    llama_memory_clear(llama_get_memory(context_), false);
    const bool all = pooling_ != LLAMA_POOLING_TYPE_NONE;
    batch_.n_tokens = 0;
    last_.clear();
    for (const Text* text = begin; text != end; ++text) {
      for (size_t i = 0; i < text->size(); ++i) {
        const int at = batch_.n_tokens++;
        batch_.token[at] = (*text)[i];
        batch_.pos[at] = llama_pos(i);
        batch_.n_seq_id[at] = 1;
        batch_.seq_id[at][0] = llama_seq_id(text - begin);
        batch_.logits[at] = all || i + 1 == text->size();
      }
      last_.push_back(batch_.n_tokens - 1);
    }
    if (const int code = llama_decode(context_, batch_)) fail("llama_decode gives " + std::to_string(code));
    llama_synchronize(context_);
  }

  /// A vector for each text; the sum of their first values, so that all are looked at.
  double embed(const std::vector<Text>& texts, size_t at_a_time) {
    double sum = 0;
    for (size_t first = 0; first < texts.size(); first += at_a_time) {
      const size_t n = std::min(at_a_time, texts.size() - first);
      decode(&texts[first], &texts[first] + n);
      for (size_t i = 0; i < n; ++i) sum += vector(i)[0];
    }
    return sum;
  }

  const float* vector(size_t i) {
    const float* row = pooling_ == LLAMA_POOLING_TYPE_NONE ? llama_get_logits_ith(context_, last_[i])
                                                           : llama_get_embeddings_seq(context_, llama_seq_id(i));
    if (row == nullptr) fail("there is nothing of text " + std::to_string(i));
    for (int j = 0; j < n_embd_; ++j)
      if (!(row[j] == row[j])) fail("text " + std::to_string(i) + " gives NaN");
    return row;
  }

 private:
  PoolingType pooling_;
  int n_embd_;
  llama_batch batch_;
  std::vector<int> last_;
  llama_context* context_ = nullptr;
};

/// The first call is left out: it makes plans and compiles.
void measure_warm(const std::string& what, int repeat, const std::function<void()>& call, int n_texts = 0,
                  int n_tokens = 0) {
  call();
  measure(what, repeat, call, n_texts, n_tokens);
}

void measure_document(const Engine& engine, int n_vocab, int repeat) {
  Context context(engine, LLAMA_POOLING_TYPE_NONE);
  const Text document = ids_of(kDocument, 0, n_vocab);
  const auto feed = [&] { context.decode(&document, &document + 1); };
  measure_warm("the document fed, 212 tokens, to the logits after it", repeat, feed, 0, kDocument);
  std::vector<uint8_t> state(llama_state_seq_get_size(context.get(), 0));
  const auto read = [&] { llama_state_seq_get_data(context.get(), state.data(), state.size(), 0); };
  measure_warm("a state to the host, " + std::to_string(state.size() / 1000000) + " MB", repeat, read);
  measure_warm("a state into a sequence, and to the host again", repeat, [&] {
    if (llama_state_seq_set_data(context.get(), state.data(), state.size(), 0) == 0) fail("the state is refused");
    read();
  });
}

void measure_vectors(Context& context, const std::string& as, const std::vector<Text>& many, int n_vocab, int repeat) {
  std::vector<Text> fields;
  int n_fields = 0;
  for (const int n : kFields) {
    fields.push_back(ids_of(n, uint32_t(n), n_vocab));
    n_fields += n;
  }
  const auto together = [&] { context.embed(fields, fields.size()); };
  const auto singly = [&] { context.embed(fields, 1); };
  measure_warm("six texts of 5 to 40 tokens" + as + ", one call", repeat, together, int(fields.size()), n_fields);
  measure_warm("the same" + as + ", one by one", repeat, singly, int(fields.size()), n_fields);
  // A few of them are enough to have all compiled.
  context.embed({many.begin(), many.begin() + std::min<ptrdiff_t>(2 * kSequences, ptrdiff_t(many.size()))}, kSequences);
  const int n_texts = int(many.size());
  const std::string what = std::to_string(n_texts) + " texts of 64 tokens" + as + ", 32 to a call";
  const auto all = [&] { context.embed(many, kSequences); };
  measure(what, std::max(repeat / 3, 1), all, n_texts, n_texts * kText);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) fail("usage: llama_embed MODEL.gguf FOLDER [LAYERS_ON_GPU [TEXTS [REPEAT]]]");
  const auto number = [&](int i, int otherwise) { return argc > i ? std::atoi(argv[i]) : otherwise; };
  const int n_texts = number(4, 1000), repeat = number(5, 11);
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level >= GGML_LOG_LEVEL_WARN) std::fputs(text, stderr);
      },
      nullptr);
  ggml_backend_load_all_from_path(argv[2]);
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = number(3, 99);
  llama_model* model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) fail(std::string(argv[1]) + " cannot be loaded");
  // Threads spin while they wait for each other: without a GPU, where this is only tried, one is fastest on a busy
  // machine.
  const Engine engine{model, params.n_gpu_layers > 0 ? llama_context_default_params().n_threads : 1};
  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  for (size_t i = 0; i < ggml_backend_dev_count(); ++i)
    std::printf("llama.cpp v0.5.0; device %s\n", ggml_backend_dev_description(ggml_backend_dev_get(i)));
  std::printf("\n| what | median | min | max | n | texts/s | tok/s |\n| --- | --- | --- | --- | --- | --- | --- |\n");

  measure_document(engine, n_vocab, repeat);
  std::vector<Text> many;
  for (int i = 0; i < n_texts; ++i) many.push_back(ids_of(kText, 1000 + uint32_t(i), n_vocab));
  const struct {
    PoolingType pooling;
    const char* name;
  } ways[] = {
      {LLAMA_POOLING_TYPE_NONE, "logits"}, {LLAMA_POOLING_TYPE_LAST, "last"}, {LLAMA_POOLING_TYPE_MEAN, "mean"}};
  for (const auto& [pooling, name] : ways) {
    Context context(engine, pooling);
    measure_vectors(context, std::string(", ") + name, many, n_vocab, repeat);
  }
  llama_model_free(model);
}
