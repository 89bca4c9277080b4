// A document is read once. Its state, kept in a file, is where every question to it begins.
//   state [MODEL]
#include <iostream>

#include "ravenwing/ravenwing.hpp"

namespace rw = ravenwing;

namespace {

const char* const kDocument = "Lily had a red ball. She took it to the park, and there a dog ran away with it. ";
const char* const kQuestions[] = {"The ball was", "The dog was", "Then Lily"};

}  // namespace

int main(int argc, char** argv) try {
  rw::Engine engine({.model = argc > 1 ? argv[1] : rw::demo_model_path()});
  rw::Session session = engine.new_session();
  session.feed(engine.tokenizer().encode(kDocument));
  session.state().save("document.safetensors");

  // Perhaps in another program, another day.
  const rw::State document = rw::State::load("document.safetensors");
  std::cout << document.n_layer << " layers of " << document.n_head << " heads, " << document.wkv.size() << " values\n";
  for (const char* question : kQuestions) {
    session.restore({.state = document});
    const rw::Completion answer = session.generate(engine.tokenizer().encode(question),
                                                   {.max_tokens = 12, .stop = {"\n"}, .sampler = {.temperature = 0}});
    std::cout << question << answer.text << '\n';
  }
} catch (const rw::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
