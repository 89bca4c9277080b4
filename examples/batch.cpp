// Several texts go on at once: they share the steps of the GPU, and what they have in common is read once.
//   batch [MODEL]
#include <iostream>

#include "ravenwing/ravenwing.hpp"

namespace rw = ravenwing;

int main(int argc, char** argv) try {
  rw::Engine engine({.model = argc > 1 ? argv[1] : rw::demo_model_path()});
  rw::Session beginning = engine.new_session();
  beginning.feed(engine.tokenizer().encode("Once upon a time there was a"));

  const std::vector<std::string> heroes = {" girl", " dog", " robot"};
  std::vector<rw::Session> sessions;
  std::vector<rw::Request> requests;
  sessions.reserve(heroes.size());  // requests point into it
  for (const std::string& hero : heroes) {
    sessions.push_back(beginning.fork());
    requests.push_back({.session = &sessions.back(),
                        .ids = engine.tokenizer().encode(hero),
                        .options = {.max_tokens = 12, .sampler = {.temperature = 0.8f, .seed = 7}}});
  }
  const std::vector<rw::Completion> stories = engine.generate(requests);
  for (size_t i = 0; i < heroes.size(); ++i) std::cout << "..." << heroes[i] << stories[i].text << '\n';
} catch (const rw::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
