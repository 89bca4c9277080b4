// A conversation: a line is read, the answer streams. "/back" takes the last turn back. Ends with the input.
//   chat [MODEL [TOKENS]]    of an answer, at most
#include <iostream>

#include "ravenwing/ravenwing.hpp"

namespace rw = ravenwing;

int main(int argc, char** argv) try {
  rw::Engine engine({.model = argc > 1 ? argv[1] : rw::demo_model_path()});
  const rw::Tokenizer& tokenizer = engine.tokenizer();
  rw::Session session = engine.new_session();
  std::vector<rw::SessionSnapshot> turns;
  rw::GenerateOptions options{.max_tokens = argc > 2 ? uint32_t(std::stoul(argv[2])) : 200, .stop = rw::chat_stops()};
  options.on_text = [](std::string_view text) { return bool(std::cout << text << std::flush); };
  for (std::string line; std::cout << "> " << std::flush && std::getline(std::cin, line);) {
    if (line == "/back") {
      if (turns.empty()) continue;
      session.restore(turns.back());
      turns.pop_back();
      continue;
    }
    turns.push_back(session.snapshot());
    // A turn ends with an empty line, where the next one begins.
    const std::string before = turns.size() > 1 ? "\n\n" : "";
    const std::string turn = rw::user_turn(rw::ChatTemplate::g1, rw::Think::off, line);
    session.generate(tokenizer.encode(before + turn), options);
    std::cout << '\n';
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
