// apps/line_editor.cpp: libedit behind a small face.
#include "line_editor.hpp"

#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cwchar>
#include <iostream>

#include "command.hpp"
#include "terminal.hpp"

namespace ravenwing::apps {
namespace {

constexpr int kHistoryMax = 1000;

/// One character, or -1 at the end of the input and at Ctrl-C.
int read_character(EditLine*, wchar_t* character) {
  std::mbstate_t state = {};
  while (true) {
    pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int n_ready = poll(&ready, 1, 100);
    if (interrupted()) return -1;
    if (n_ready <= 0) continue;
    char byte = 0;
    const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0 ? 0 : -1;
    const size_t length = std::mbrtowc(character, &byte, 1, &state);
    if (length == size_t(-1)) {
      state = {};
    } else if (length != size_t(-2)) {
      return 1;
    }
  }
}

}  // namespace

struct LineEditor::Terminal {
  static char* prompt_of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<Terminal*>(data)->prompt.data();
  }

  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;
};

LineEditor::LineEditor(std::filesystem::path history) : path_(std::move(history)) {
  if (!stdin_is_terminal() || !stdout_is_terminal()) return;
  // Of the character type alone: numbers stay as they are in C.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  terminal_ = std::make_unique<Terminal>();
  terminal_->editor = el_init("ravenwing", stdin, stdout, stderr);
  terminal_->history = history_init();
  if (terminal_->editor == nullptr || terminal_->history == nullptr) {
    terminal_.reset();
    return;
  }
  EditLine* editor = terminal_->editor;
  HistEvent event;
  ::history(terminal_->history, &event, H_SETSIZE, kHistoryMax);
  ::history(terminal_->history, &event, H_SETUNIQUE, 1);
  if (!path_.empty()) ::history(terminal_->history, &event, H_LOAD, path_.c_str());
  el_set(editor, EL_CLIENTDATA, terminal_.get());
  el_set(editor, EL_PROMPT_ESC, &Terminal::prompt_of, '\1');
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_HIST, ::history, terminal_->history);
  el_wset(editor, EL_GETCFN, &read_character);
}

LineEditor::~LineEditor() {
  if (!terminal_) return;
  if (terminal_->editor != nullptr) el_end(terminal_->editor);
  if (terminal_->history != nullptr) history_end(terminal_->history);
}

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  if (!terminal_) {
    std::string line;
    check_interrupted();
    if (!std::getline(std::cin, line)) {
      check_interrupted();
      return std::nullopt;
    }
    return line;
  }
  terminal_->prompt = prompt;
  // el_gets would show the prompt first: what is typed between the two would appear twice.
  el_set(terminal_->editor, EL_PREP_TERM, 1);
  int n = 0;
  const char* line = el_gets(terminal_->editor, &n);
  if (interrupted()) {
    el_reset(terminal_->editor);
    check_interrupted();
  }
  if (line == nullptr || n <= 0) return std::nullopt;
  std::string text(line, size_t(n));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void LineEditor::remember(const std::string& text) {
  if (!terminal_ || text.empty()) return;
  HistEvent event;
  ::history(terminal_->history, &event, H_ENTER, text.c_str());
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  // A history that cannot be kept is no reason to end a chat.
  ::history(terminal_->history, &event, H_SAVE, path_.c_str());
}

}  // namespace ravenwing::apps
