// Which sentences say nearly the same: vectors of all in one call, then the nearest one of each.
//   embed [MODEL]
#include <iomanip>
#include <iostream>
#include <numeric>
#include <span>

#include "ravenwing/ravenwing.hpp"

namespace rw = ravenwing;

int main(int argc, char** argv) try {
  const std::vector<std::string> texts = {
      "The cat sat on the mat.",     "The cat slept on a chair.",    "It rained all day and the sky was dark.",
      "The sun was hot in the sky.", "Tom ate a cake with his mom.", "Mom and Tom made a big cake."};
  // As many texts are read at a time as there are sessions.
  rw::Engine engine({.model = argc > 1 ? argv[1] : rw::demo_model_path(), .max_sessions = 8});
  std::vector<std::vector<uint32_t>> ids;
  for (const std::string& text : texts) ids.push_back(engine.tokenizer().encode(text));
  const std::vector<float> vectors = engine.embed(ids, {.pooling = rw::Pooling::mean});

  // Vectors have a length of 1, so their product is the cosine.
  const size_t n = engine.embedding_size(rw::Pooling::mean);
  const auto vector = [&](size_t i) { return std::span(vectors).subspan(i * n, n); };
  const auto cosine = [&](size_t i, size_t j) {
    return std::inner_product(vector(i).begin(), vector(i).end(), vector(j).begin(), 0.0f);
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    size_t nearest = i == 0 ? 1 : 0;
    for (size_t j = 0; j < texts.size(); ++j)
      if (j != i && cosine(i, j) > cosine(i, nearest)) nearest = j;
    std::cout << std::fixed << std::setprecision(3) << cosine(i, nearest) << "  " << texts[i] << "  " << texts[nearest]
              << '\n';
  }
} catch (const rw::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
